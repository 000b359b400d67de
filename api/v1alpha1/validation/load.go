package validation

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

// maxFileBytes bounds what Load reads; etcd would not take a larger object either (1.5 MiB by default).
const maxFileBytes = 3 << 19

// Load reads one WebSocketCluster in YAML or JSON, fills in the defaults and checks it as kubectl apply --validate=strict
// against an API server would: unknown and doubled fields, types, bounds, CEL rules. The namespace is set to default when the
// file names none. An error is one line for each fault, each naming the field and what to write instead; nothing is returned then.
// Load blocks only on r and is safe for concurrent use.
func Load(r io.Reader) (*v1alpha1.WebSocketCluster, error) {
	document, err := onlyDocument(r)
	if err != nil {
		return nil, err
	}
	object, err := decode(document)
	if err != nil {
		return nil, err
	}
	if err := checkKind(object); err != nil {
		return nil, err
	}
	v, err := compiled()
	if err != nil {
		return nil, err
	}
	if err := v.check(object); err != nil {
		return nil, err
	}
	cluster := &v1alpha1.WebSocketCluster{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object, cluster, true); err != nil {
		return nil, errors.New(oneLine(err))
	}
	if cluster.Namespace == "" {
		cluster.Namespace = "default"
	}
	return cluster, nil
}

// check fills in the defaults of object and returns all its faults joined, one a line.
func (v *validator) check(object map[string]any) error {
	if unknown := v.unknownFields(object); len(unknown) > 0 {
		faults := make([]error, len(unknown))
		for i, path := range unknown {
			faults[i] = fmt.Errorf("unknown field %q; see kubectl explain wsc, or docs, for the fields there are", path)
		}
		return errors.Join(faults...)
	}
	v.setDefaults(object)

	if faults := metadataFaults(object); len(faults) > 0 {
		return errors.Join(faults...)
	}
	var faults []error
	for _, fault := range v.validate(context.Background(), object) {
		faults = append(faults, fault)
	}
	return errors.Join(faults...)
}

// metadataFaults checks what the schema does not: the API server treats metadata by itself, before everything else.
func metadataFaults(object map[string]any) []error {
	metadata, _, err := objectmeta.GetObjectMeta(object, false)
	if err != nil {
		return []error{fmt.Errorf("metadata: %s", oneLine(err))}
	}
	if metadata == nil || metadata.Name == "" {
		return []error{errors.New("metadata.name: Required value: give the cluster a name, such as chat")}
	}
	var faults []error
	for _, fault := range apivalidation.NameIsDNSSubdomain(metadata.Name, false) {
		faults = append(faults, fmt.Errorf("metadata.name: Invalid value: %q: %s", metadata.Name, fault))
	}
	return faults
}

// decode reads YAML or JSON; doubled keys are an error. Whole numbers become int64, as the schema and CEL expect them.
func decode(document []byte) (map[string]any, error) {
	asJSON, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return nil, fmt.Errorf("not valid YAML: %s", oneLine(err))
	}
	var object map[string]any
	if err := utiljson.Unmarshal(asJSON, &object); err != nil {
		return nil, fmt.Errorf("not a YAML mapping: %s", oneLine(err))
	}
	return object, nil
}

// onlyDocument returns the one document in r that is not empty.
func onlyDocument(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("larger than %d bytes; a WebSocketCluster has to fit into an object of the API server", maxFileBytes)
	}
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	var documents [][]byte
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("not valid YAML: %s", oneLine(err))
		}
		if !isBlank(document) {
			documents = append(documents, document)
		}
	}
	switch len(documents) {
	case 0:
		return nil, errors.New("empty; write at least apiVersion: wscluster.dev/v1alpha1, kind: WebSocketCluster, metadata: {name: chat}")
	case 1:
		return documents[0], nil
	default:
		return nil, fmt.Errorf("holds %d documents; keep one WebSocketCluster in it", len(documents))
	}
}

func checkKind(object map[string]any) error {
	want := v1alpha1.GroupVersion.String()
	if got, _ := object["apiVersion"].(string); got != want {
		return fmt.Errorf("apiVersion is %q; write apiVersion: %s", got, want)
	}
	if got, _ := object["kind"].(string); got != v1alpha1.Kind {
		return fmt.Errorf("kind is %q; write kind: %s", got, v1alpha1.Kind)
	}
	return nil
}

// isBlank tells whether a YAML document holds nothing but white space and comments.
func isBlank(document []byte) bool {
	for line := range bytes.Lines(document) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && !bytes.Equal(line, []byte("---")) {
			return false
		}
	}
	return true
}

func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
