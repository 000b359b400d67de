package gateway

import (
	"context"
	"slices"

	"github.com/wscluster/wscluster/pkg/settings"
)

// reload takes over what changes in the settings file and the files that it names, until ctx ends. What cannot be taken over
// is logged, and what is wrong changes nothing. args and environ are those of settings.FromCommandLine.
func (g *Gateway) reload(ctx context.Context, args, environ []string) {
	settings.Watch(ctx, args, environ, g.settings, func(r settings.Reload) {
		if r.Err != nil {
			g.logger.Error("the changed settings are wrong: going on with the old ones", "error", r.Err)
			return
		}
		if len(r.NeedsRestart) > 0 {
			g.logger.Warn("changed settings take effect at the next start only", "settings", r.NeedsRestart)
		}
		if slices.Contains(r.Files, "tlsCertFile") || slices.Contains(r.Files, "tlsKeyFile") {
			if err := g.certificate.load(g.settings); err != nil {
				g.logger.Error("the changed TLS certificate is wrong: going on with the old one", "error", err)
			}
		}
		if slices.Contains(r.Files, "apiKeyFile") && g.api != nil {
			if err := g.apiKeys.load(g.settings.APIKeyFile); err != nil {
				g.logger.Error("the changed API key file is wrong: going on with the old keys", "error", err)
			}
		}
		if len(r.Changed) > 0 {
			g.apply(r.Settings)
		}
		if len(r.Changed)+len(r.Files) > 0 {
			g.logger.Info("settings reloaded", "settings", r.Changed, "files", r.Files)
		}
	})
}
