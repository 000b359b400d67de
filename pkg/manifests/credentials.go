package manifests

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

// Credentials are the secrets that the operator makes once for a cluster and keeps. Empty fields are not needed by that cluster.
type Credentials struct {
	// RedisPassword of the user named RedisUser.
	RedisPassword string
	// APIKey opens the server API.
	APIKey string
	// OpsToken opens the guarded endpoints of the ops port.
	OpsToken string
}

// CredentialSlot says where one credential is kept.
type CredentialSlot struct {
	// SecretName and Key name the entry.
	SecretName, Key string
	// Value points to the credential's field.
	Value *string
}

// Entries of the Secrets.
const (
	redisPasswordKey = "password"
	redisACLKey      = "users.acl"
	// APIKeyKey is the entry with one server API key a line.
	APIKeyKey = "api-key"
	// OpsTokenKey is the entry with the token of the guarded ops endpoints.
	OpsTokenKey = "token"
)

// RedisUser is the user that gateways log in as at a Redis made by the operator. It may touch only keys and channels with the
// cluster's own prefix.
const RedisUser = "gateway"

// NeededCredentials lists the credentials that the cluster needs and where each is kept; the slots point into credentials.
func NeededCredentials(cluster *v1alpha1.WebSocketCluster, credentials *Credentials) []CredentialSlot {
	slots := []CredentialSlot{{OpsName(cluster), OpsTokenKey, &credentials.OpsToken}}
	if cluster.Spec.Redis.Type == v1alpha1.RedisStandalone {
		slots = append(slots, CredentialSlot{RedisName(cluster), redisPasswordKey, &credentials.RedisPassword})
	}
	if hasOwnAPIKey(cluster) {
		slots = append(slots, CredentialSlot{APIKeySecretName(cluster), APIKeyKey, &credentials.APIKey})
	}
	return slots
}

// ReferencedSecrets lists the entries of Secrets that the spec names and that pods cannot start without.
// A reference without a Key names a whole Secret of type kubernetes.io/tls.
func ReferencedSecrets(cluster *v1alpha1.WebSocketCluster) []v1alpha1.SecretKeyReference {
	var refs []v1alpha1.SecretKeyReference
	add := func(ref *v1alpha1.SecretKeyReference) {
		if ref != nil {
			refs = append(refs, *ref)
		}
	}
	addPair := func(name string) {
		add(&v1alpha1.SecretKeyReference{Name: name, Key: corev1.TLSCertKey})
		add(&v1alpha1.SecretKeyReference{Name: name, Key: corev1.TLSPrivateKeyKey})
	}
	if tls := cluster.Spec.Gateway.TLS; tls != nil {
		addPair(tls.SecretName)
	}
	if ref := cluster.Spec.API.KeySecretRef; ref != nil {
		add(&v1alpha1.SecretKeyReference{Name: ref.Name, Key: APIKeyKey})
	}
	if jwt := cluster.Spec.Auth.JWT; jwt != nil {
		add(jwt.SecretRef)
	}
	if external := cluster.Spec.Redis.External; external != nil {
		add(external.UsernameSecretRef)
		add(external.PasswordSecretRef)
		if tls := external.TLS; tls != nil {
			add(tls.CASecretRef)
			if cert := tls.CertSecretRef; cert != nil {
				addPair(cert.Name)
			}
		}
	}
	return refs
}

func hasOwnAPIKey(cluster *v1alpha1.WebSocketCluster) bool {
	return cluster.Spec.API.Mode == v1alpha1.ModeEnabled && cluster.Spec.API.KeySecretRef == nil
}

func (b builder) opsSecret() Object {
	return b.secret(OpsName(b.cluster), ComponentGateway, map[string]string{OpsTokenKey: b.credentials.OpsToken})
}

func (b builder) apiKeySecret() Object {
	return b.secret(APIKeySecretName(b.cluster), ComponentGateway, map[string]string{APIKeyKey: b.credentials.APIKey})
}

func (b builder) redisSecret() Object {
	return b.secret(RedisName(b.cluster), ComponentRedis, map[string]string{
		redisPasswordKey: b.credentials.RedisPassword,
		redisACLKey:      redisACL(b.cluster, b.credentials.RedisPassword),
	})
}

// secret writes data, not stringData: only data can be read back, and so be compared.
func (b builder) secret(name, component string, entries map[string]string) Object {
	data := make(map[string][]byte, len(entries))
	for key, value := range entries {
		data[key] = []byte(value)
	}
	return core.Secret(name, b.cluster.Namespace).
		WithLabels(objectLabels(b.cluster, component)).WithOwnerReferences(ownerReference(b.cluster)).
		WithType("Opaque").WithData(data)
}

// redisACL is Redis's user file. The password is in it only as a hash, and never on a command line. The gateways' user may work
// with data, messages and scripts on names that start with the cluster's prefix, and administer nothing; INFO and ROLE are
// how it learns of a promoted replica. The user probe serves the health probes and can do nothing else.
func redisACL(cluster *v1alpha1.WebSocketCluster, password string) string {
	sum := sha256.Sum256([]byte(password))
	prefix := ClusterPrefix(cluster)
	return fmt.Sprintf(`user default off
user probe on nopass -@all +ping
user %s on #%s ~%s:* &%s:* -@all +@read +@write +@pubsub +@scripting +@transaction +@connection +wait +time -@admin -@dangerous +info +role
`, RedisUser, hex.EncodeToString(sum[:]), prefix, prefix)
}
