package validation

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

const header = "apiVersion: wscluster.dev/v1alpha1\nkind: WebSocketCluster\n"

func TestAnEmptySpecGetsEveryDefault(t *testing.T) {
	for _, text := range []string{
		header + "metadata: {name: chat}\nspec: {}\n",
		header + "metadata: {name: chat}\n",
		"# a comment\n---\n" + header + "metadata: {name: chat}\n---\n# nothing more\n",
		`{"apiVersion":"wscluster.dev/v1alpha1","kind":"WebSocketCluster","metadata":{"name":"chat"},"spec":{"replicas":null}}`,
	} {
		cluster, err := Load(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%s\nis refused: %v", text, err)
		}
		spec := cluster.Spec
		if cluster.Namespace != "default" || *spec.Replicas != 2 || spec.Auth.Type != v1alpha1.AuthGuest ||
			spec.Redis.Type != v1alpha1.RedisStandalone || spec.Gateway.Limits.MaxConnections != 20000 ||
			*spec.Gateway.Limits.MessagesPerSecond != 50 || *spec.Gateway.Drain.DelaySeconds != 5 ||
			spec.Service.Port != 80 || spec.Service.SessionAffinityTimeoutSeconds != 60 || spec.API.Mode != v1alpha1.ModeEnabled ||
			spec.Gateway.Resources.Requests.Cpu().String() != "250m" || spec.NetworkPolicy.Mode != v1alpha1.ModeEnabled {
			t.Errorf("%s\nhas the defaults %+v", text, cluster)
		}
	}
}

func TestTheSamplesAreValid(t *testing.T) {
	samples, err := filepath.Glob("../../../config/samples/[^k]*.yaml")
	if err != nil || len(samples) < 2 {
		t.Fatalf("found the samples %v, %v; want at least chat.yaml and minimal.yaml", samples, err)
	}
	for _, path := range samples {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Load(file); err != nil {
			t.Errorf("%s is refused: %v", path, err)
		}
		_ = file.Close()
	}
}

func TestAWrongFileGetsOneSentenceAFault(t *testing.T) {
	chat := header + "metadata: {name: chat}\n"
	tests := []struct {
		name, text string
		want       []string
	}{
		{"an empty file", "# nothing\n", []string{"empty; write at least apiVersion: wscluster.dev/v1alpha1"}},
		{"two documents", chat + "---\n" + chat, []string{"holds 2 documents; keep one WebSocketCluster in it"}},
		{"another kind", "apiVersion: apps/v1\nkind: Deployment\n", []string{`apiVersion is "apps/v1"; write apiVersion: wscluster.dev/v1alpha1`}},
		{"a kind with a slip of the pen", "apiVersion: wscluster.dev/v1alpha1\nkind: WebsocketCluster\n", []string{`kind is "WebsocketCluster"; write kind: WebSocketCluster`}},
		{"a list", "- a\n", []string{"not a YAML mapping"}},
		{"broken YAML", "a: [", []string{"not valid YAML"}},
		{"a doubled key", chat + "spec:\n  replicas: 1\n  replicas: 2\n", []string{`key "replicas" already set`}},
		{"no name", header + "metadata: {}\n", []string{"metadata.name: Required value: give the cluster a name, such as chat"}},
		{"an unknown field", chat + "spec: {replica: 3}\n", []string{`unknown field "spec.replica"`}},
		{"two unknown fields", chat + "spec: {gateway: {foo: 1}, rooms: [{match: a, bar: 2}]}\n", []string{`unknown field "spec.gateway.foo"`, `unknown field "spec.rooms[0].bar"`}},
		{"an unknown field of metadata", header + "metadata: {name: chat, label: {a: b}}\n", []string{`unknown field "metadata.label"`}},
		{"a wrong type", chat + "spec: {replicas: many}\n", []string{`spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer`}},
		{"a rule over several fields", chat + "spec: {gateway: {drain: {timeoutSeconds: 3}}}\n", []string{"spec.gateway: Invalid value", "a full pod could not drain in time"}},
		{"two faults", chat + "spec: {replicas: -1, auth: {type: Token}}\n", []string{"spec.replicas: Invalid value: -1", `spec.auth.type: Unsupported value: "Token": supported values: "Guest", "TrustedUserID", "JWT"`}},
		{"a label that is not text", header + "metadata: {name: chat, labels: {a: 1}}\n", []string{"metadata: "}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cluster, err := Load(strings.NewReader(test.text))
			if err == nil {
				t.Fatalf("is taken: %+v", cluster)
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != max(1, len(test.want)) && test.name != "a rule over several fields" {
				t.Errorf("%d lines, want one for each of %d faults:\n%v", len(lines), len(test.want), err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("says\n%v\nwant\n%s", err, want)
				}
			}
		})
	}
}

func TestAFileOverTheBoundIsRefused(t *testing.T) {
	if _, err := Load(strings.NewReader(strings.Repeat("#", maxFileBytes+1))); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("says %v, want that it is too large", err)
	}
}
