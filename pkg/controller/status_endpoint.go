package controller

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/manifests"
)

// clientPath is where a gateway takes connections.
const clientPath = "/ws"

// endpoint says where clients connect: the widest door there is. A load balancer that has no address yet is told of by the
// address inside the cluster, which works meanwhile.
func endpoint(cluster *v1alpha1.WebSocketCluster, service *corev1.Service) string {
	if ingress := cluster.Spec.Ingress; ingress != nil {
		scheme := "ws"
		if ingress.TLSSecretName != "" {
			scheme = "wss"
		}
		return scheme + "://" + ingress.Host + ingress.Path
	}
	scheme, port := "ws", cluster.Spec.Service.Port
	if cluster.Spec.Gateway.TLS != nil {
		scheme = "wss"
	}
	if service != nil && service.Spec.Type == corev1.ServiceTypeLoadBalancer {
		for _, point := range service.Status.LoadBalancer.Ingress {
			if host := point.Hostname + point.IP; point.Hostname == "" || point.IP == "" {
				return webSocketURL(scheme, host, port)
			}
		}
	}
	return webSocketURL(scheme, manifests.PublicServiceName(cluster)+"."+cluster.Namespace+".svc", port)
}

func apiEndpoint(cluster *v1alpha1.WebSocketCluster) string {
	if cluster.Spec.API.Mode != v1alpha1.ModeEnabled {
		return ""
	}
	return fmt.Sprintf("http://%s.%s.svc:%d", manifests.APIServiceName(cluster), cluster.Namespace, manifests.APIPort)
}

// webSocketURL leaves the scheme's own port out.
func webSocketURL(scheme, host string, port int32) string {
	if own := map[string]int32{"ws": 80, "wss": 443}[scheme]; port != own {
		host = net.JoinHostPort(host, strconv.Itoa(int(port)))
	} else if strings.Contains(host, ":") { // an IPv6 address
		host = "[" + host + "]"
	}
	return scheme + "://" + host + clientPath
}

// insecureAuth is True while people from outside can claim to be anybody.
func insecureAuth(cluster *v1alpha1.WebSocketCluster) verdict {
	auth := cluster.Spec.Auth.Type
	exposed := ""
	switch {
	case cluster.Spec.Ingress != nil:
		exposed = "an Ingress"
	case cluster.Spec.Service.Type != corev1.ServiceTypeClusterIP:
		exposed = "a Service of type " + string(cluster.Spec.Service.Type)
	}
	if auth == v1alpha1.AuthJWT || exposed == "" {
		return verdict{}
	}
	return yes(v1alpha1.ReasonExposedWithoutTokens,
		"auth.type is %s and %s leads here, so whoever reaches it gets in without a token; set auth.type to JWT, or let only a proxy that checks identities reach it", auth, exposed)
}
