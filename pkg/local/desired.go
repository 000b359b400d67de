package local

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"reflect"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/api/v1alpha1/validation"
	"github.com/wscluster/wscluster/pkg/manifests"
	"github.com/wscluster/wscluster/pkg/settings"
)

// desired is what a file asks for, as far as this machine can give it.
type desired struct {
	cluster  *v1alpha1.WebSocketCluster
	replicas int
	// affinity is the timeout of ClientIP; 0: none.
	affinity time.Duration
	// makesKey: settings.APIKeyFile is made here if it is not there.
	makesKey bool
	// settings are those of every gateway; addresses, name and backplane are each gateway's own.
	settings settings.Settings
	// restartHash changes with settings that a running gateway cannot take over.
	restartHash string
	// environment is added to that of the gateways.
	environment []string
}

// load reads and checks the file. Its error is one line a fault, with the sentences of the API server.
func load(path string, known secrets) (*desired, error) {
	file, err := os.Open(path)
	if failed := (*fs.PathError)(nil); errors.As(err, &failed) {
		return nil, failed.Err // the caller names the file
	}
	defer file.Close()
	cluster, err := validation.Load(file)
	if err != nil {
		return nil, err
	}
	if err := known.check(cluster); err != nil {
		return nil, err
	}
	return derive(cluster, known)
}

func derive(cluster *v1alpha1.WebSocketCluster, known secrets) (*desired, error) {
	s, err := manifests.ClientSettings(cluster)
	if err != nil {
		return nil, err
	}
	// The delay is the time that load balancers need to look elsewhere; ours does before the gateway is told to leave.
	s.Drain.Delay = 0
	s.LogFormat = "text"
	if jwt := cluster.Spec.Auth.JWT; jwt != nil {
		s.Auth.JWT.SecretFile = known.file(jwt.SecretRef)
	}
	if tls := cluster.Spec.Gateway.TLS; tls != nil {
		s.TLSCertFile = known.file(&v1alpha1.SecretKeyReference{Name: tls.SecretName, Key: corev1.TLSCertKey})
		s.TLSKeyFile = known.file(&v1alpha1.SecretKeyReference{Name: tls.SecretName, Key: corev1.TLSPrivateKeyKey})
	}
	var makesKey bool
	if s.APIKeyFile, makesKey, err = apiKeyFile(cluster, known); err != nil {
		return nil, err
	}
	d := &desired{makesKey: makesKey, cluster: cluster, replicas: int(ptr.Deref(cluster.Spec.Replicas, 2)), settings: s}
	if scaling := cluster.Spec.Autoscaling; scaling != nil {
		d.replicas = max(d.replicas, int(scaling.MinReplicas))
	}
	if cluster.Spec.Service.SessionAffinity != corev1.ServiceAffinityNone {
		d.affinity = time.Duration(cluster.Spec.Service.SessionAffinityTimeoutSeconds) * time.Second
	}
	if template := cluster.Spec.Gateway.PodTemplate; template != nil {
		for _, variable := range template.Env {
			if variable.ValueFrom == nil {
				d.environment = append(d.environment, variable.Name+"="+variable.Value)
			}
		}
	}
	if d.restartHash, err = restartHash(s, d.environment); err != nil {
		return nil, err
	}
	return d, nil
}

// restartHash leaves out what a running gateway takes over.
func restartHash(s settings.Settings, environment []string) (string, error) {
	text, err := settings.Marshal(s.WithoutReloadable())
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append(text, strings.Join(environment, "\x00")...))
	return hex.EncodeToString(sum[:8]), nil
}

// notHere lists what the file asks for that has no meaning without Kubernetes, in the file's own words.
func (d *desired) notHere() []string {
	spec := &d.cluster.Spec
	var fields []string
	add := func(set bool, field string) {
		if set {
			fields = append(fields, field)
		}
	}
	add(spec.Image != "", "image")
	add(spec.Autoscaling != nil, fmt.Sprintf("autoscaling (%d gateways stay)", d.replicas))
	add(spec.Gateway.PodTemplate != nil, "gateway.podTemplate (but for env)")
	add(spec.Service.Type != "" && spec.Service.Type != corev1.ServiceTypeClusterIP, "service.type")
	add(spec.Ingress != nil, "ingress")
	if standalone := spec.Redis.Standalone; standalone != nil {
		add(standalone.Image != "", "redis.standalone.image")
		add(standalone.Resources != nil, "redis.standalone.resources")
	}
	return fields
}

// differences says what an edit changes; refused is why it cannot be done while the cluster runs.
func differences(from, to *desired) (changes []string, refused error) {
	if from.cluster.Name != to.cluster.Name || from.cluster.Namespace != to.cluster.Namespace {
		return nil, fmt.Errorf("metadata: this is another cluster, %s/%s; end wsc run and start it anew for that one", to.cluster.Namespace, to.cluster.Name)
	}
	if !reflect.DeepEqual(from.cluster.Spec.Redis, to.cluster.Spec.Redis) {
		return nil, fmt.Errorf("redis: cannot be changed while it runs on this machine; end wsc run and start it anew")
	}
	if from.cluster.Spec.API.Mode != to.cluster.Spec.API.Mode {
		return nil, fmt.Errorf("api.mode: cannot be changed while it runs on this machine; end wsc run and start it anew")
	}
	if from.replicas != to.replicas {
		changes = append(changes, fmt.Sprintf("replicas %d → %d", from.replicas, to.replicas))
	}
	if from.affinity != to.affinity {
		changes = append(changes, fmt.Sprintf("affinity %s → %s", describeAffinity(from.affinity), describeAffinity(to.affinity)))
	}
	switch {
	case from.restartHash != to.restartHash:
		changes = append(changes, "settings that need a restart: one gateway after the other, a new one first")
	case !reflect.DeepEqual(from.settings, to.settings):
		changes = append(changes, "settings that running gateways take over")
	}
	return changes, nil
}

func describeAffinity(timeout time.Duration) string {
	if timeout == 0 {
		return "None"
	}
	return fmt.Sprintf("ClientIP for %d s", int(timeout.Seconds()))
}

// externalBackplane is the URL of a Redis that somebody else runs, and the files with what it asks for.
func externalBackplane(external *v1alpha1.ExternalRedis, known secrets) (backplane, error) {
	name := ""
	if ref := external.UsernameSecretRef; ref != nil {
		user, err := settings.ReadSecret(known.file(ref))
		if err != nil {
			return backplane{}, err
		}
		name = url.User(string(user)).String()
	}
	files := settings.RedisAccess{PasswordFile: known.file(external.PasswordSecretRef)}
	if tls := external.TLS; tls != nil {
		files.ServerName = tls.ServerName
		files.CAFile = known.file(tls.CASecretRef)
		if cert := tls.CertSecretRef; cert != nil {
			files.CertFile = known.file(&v1alpha1.SecretKeyReference{Name: cert.Name, Key: corev1.TLSCertKey})
			files.KeyFile = known.file(&v1alpha1.SecretKeyReference{Name: cert.Name, Key: corev1.TLSPrivateKeyKey})
		}
	}
	return backplane{manifests.ExternalRedisURL(external, name), files}, nil
}
