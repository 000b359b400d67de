package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every type in this package.
var GroupVersion = schema.GroupVersion{Group: "wscluster.dev", Version: "v1alpha1"}

// Kind is the kind of the resource, as it is written in manifests and owner references.
const Kind = "WebSocketCluster"

var schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

// AddToScheme makes a scheme know the types of this package.
var AddToScheme = schemeBuilder.AddToScheme

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &WebSocketCluster{}, &WebSocketClusterList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
