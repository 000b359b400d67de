// Package version holds the version that this build was released as.
package version

// Version is set by the linker: -X github.com/wscluster/wscluster/pkg/version.Version=v1.2.3.
var Version = "dev"
