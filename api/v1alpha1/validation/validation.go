// Package validation checks a WebSocketCluster without an API server: it applies the defaults of the generated
// CustomResourceDefinition and evaluates its schema and CEL rules with the API server's own libraries, so that a wrong file
// gets the same sentences here as from kubectl apply. It owns no rules; they are the markers of api/v1alpha1.
package validation

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	schemavalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/config/crd"
)

// validator holds the compiled rules of one version of the resource. It is fixed after compile and safe for concurrent use.
type validator struct {
	structural *schema.Structural
	schema     schemavalidation.SchemaValidator
	rules      *cel.Validator
}

// compiled compiles the embedded CRD once a process; it takes some tens of milliseconds.
var compiled = sync.OnceValues(func() (*validator, error) {
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(crd.WebSocketClusters, &definition); err != nil {
		return nil, fmt.Errorf("read the embedded CRD: %w", err)
	}
	for _, version := range definition.Spec.Versions {
		if version.Name == v1alpha1.GroupVersion.Version {
			return compile(version.Schema.OpenAPIV3Schema)
		}
	}
	return nil, fmt.Errorf("the embedded CRD has no version %s", v1alpha1.GroupVersion.Version)
})

func compile(props *apiextensionsv1.JSONSchemaProps) (*validator, error) {
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(props, &internal, nil); err != nil {
		return nil, fmt.Errorf("convert the CRD's schema: %w", err)
	}
	structural, err := schema.NewStructural(&internal)
	if err != nil {
		return nil, fmt.Errorf("compile the CRD's schema: %w", err)
	}
	schemaValidator, _, err := schemavalidation.NewSchemaValidator(&internal)
	if err != nil {
		return nil, fmt.Errorf("compile the CRD's validation: %w", err)
	}
	return &validator{
		structural: structural,
		schema:     schemaValidator,
		rules:      cel.NewValidator(structural, true, celconfig.PerCallLimit),
	}, nil
}

// setDefaults fills in what the schema gives a default and drops nulls, as the API server does. It changes object.
func (v *validator) setDefaults(object map[string]any) {
	defaulting.PruneNonNullableNullsWithoutDefaults(object, v.structural)
	defaulting.Default(object, v.structural)
}

// unknownFields returns the paths of the fields that the schema does not know, and drops them from object.
func (v *validator) unknownFields(object map[string]any) []string {
	return pruning.PruneWithOptions(object, v.structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
}

// validate runs every check that the API server runs when an object is created. CEL rules speak only when the plain schema is
// satisfied, as in the API server: they may rely on types.
func (v *validator) validate(ctx context.Context, object map[string]any) field.ErrorList {
	errs := schemavalidation.ValidateCustomResource(nil, object, v.schema)
	errs = append(errs, objectmeta.Validate(ctx, nil, object, v.structural, false)...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, v.structural, object)...)
	if len(errs) > 0 {
		return errs
	}
	ruleErrs, _ := v.rules.Validate(ctx, nil, v.structural, object, nil, celconfig.RuntimeCELCostBudget)
	return ruleErrs
}
