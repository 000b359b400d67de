package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func TestAWrongFlagGetsOneSentence(t *testing.T) {
	tests := []struct {
		name      string
		arguments []string
		want      string
	}{
		{"an unknown flag", []string{"--gateway"}, "unknown flag: --gateway"},
		{"a word that is no flag", []string{"start"}, `takes no arguments beside flags, not "start"; see --help`},
		{"a namespace in capitals", []string{"--watch-namespaces=chat,Games"}, `--watch-namespaces: "Games" is not the name of a namespace; write names separated by commas, such as chat,games`},
		{"an empty image", []string{"--gateway-image="}, `--gateway-image: "" is not an image; write for example registry.example.com/gateway:v1.0.0`},
		{"an image with a space", []string{"--redis-image=a b"}, `--redis-image: "a b" is not an image; write for example registry.example.com/redis:v1.0.0`},
		{"a port without a colon", []string{"--metrics-bind-address=8443"}, `--metrics-bind-address: "8443" is not an address; write :PORT or HOST:PORT, or 0 to switch it off`},
		{"a health address that is none", []string{"--health-probe-bind-address=off"}, `--health-probe-bind-address: "off" is not an address`},
		{"an unknown level", []string{"--log-level=trace"}, `--log-level: "trace" is not a level; write debug, info, warn or error`},
		{"an unknown format", []string{"--log-format=xml"}, `--log-format: "xml" is not a format; write json or text`},
		{"a switch with another word", []string{"--leader-elect=maybe"}, `invalid argument "maybe" for "--leader-elect"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := parseOptions(test.arguments, nil)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("says %v, want one line that starts with %s", err, test.want)
			}
		})
	}
}

func TestImagesComeFromTheFlagThenTheEnvironmentThenTheRelease(t *testing.T) {
	environment := []string{"RELATED_IMAGE_GATEWAY=mirror/gateway:1", "RELATED_IMAGE_REDIS="}
	o, err := parseOptions(nil, environment)
	if err != nil {
		t.Fatal(err)
	}
	if o.release.GatewayImage != "mirror/gateway:1" || o.release.RedisImage != redisImage {
		t.Errorf("images are %+v; want the gateway's from the environment, and the release's Redis", o.release)
	}
	o, err = parseOptions([]string{"--gateway-image=other/gateway:2", "--watch-namespaces=a,b"}, environment)
	if err != nil || o.release.GatewayImage != "other/gateway:2" {
		t.Errorf("image is %q, %v; want that of the flag", o.release.GatewayImage, err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, o.watchNamespaces); diff != "" {
		t.Error(diff)
	}
	if _, err := parseOptions([]string{"--help"}, nil); !errors.Is(err, pflag.ErrHelp) {
		t.Errorf("--help gives %v", err)
	}
}
