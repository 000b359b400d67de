package manifests

import (
	"encoding/json"
	"fmt"
)

// convert turns a part of the spec that has the shape of a Kubernetes type into its apply configuration.
// Both sides are the same JSON by construction, so a failure is a mistake in this program, not in the spec.
func convert[T any](from any) *T {
	into := new(T)
	text, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		panic(fmt.Sprintf("convert %T to %T: %v", from, into, err))
	}
	return into
}

// convertAll converts each element of a list.
func convertAll[T, F any](from []F) []*T {
	into := make([]*T, len(from))
	for i := range from {
		into[i] = convert[T](&from[i])
	}
	return into
}
