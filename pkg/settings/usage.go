package settings

import (
	"strings"

	"github.com/spf13/pflag"
)

// usageGroup is a headed part of the usage text.
type usageGroup struct {
	title string
	flags *pflag.FlagSet
}

const groupProcess = "The process"

// usageGroups lists every flag, in the order of the usage text.
func usageGroups() []usageGroup {
	process := pflag.NewFlagSet(groupProcess, pflag.ContinueOnError)
	add := func(set *pflag.FlagSet, name string, value flagValue, usage string) {
		flag := set.VarPF(value, name, "", usage)
		if value.kind == "" {
			flag.NoOptDefVal = "true"
		}
	}
	add(process, "config", flagValue{kind: "file"}, "settings file (YAML); room policies and inboxes can only be set there")
	add(process, "check", flagValue{standard: "false"}, "validate the settings and exit: status 0 if they are valid, 2 if not")
	add(process, "version", flagValue{standard: "false"}, "print the version and exit")
	groups := []usageGroup{{groupProcess, process}}
	standard := Default()
	for _, o := range options {
		last := &groups[len(groups)-1]
		if last.title != o.group {
			groups = append(groups, usageGroup{o.group, pflag.NewFlagSet(o.group, pflag.ContinueOnError)})
			last = &groups[len(groups)-1]
		}
		add(last.flags, o.flag, flagValue{o.kind, o.bind(&standard).String()}, o.usage)
	}
	for _, group := range groups {
		group.flags.SortFlags = false
	}
	return groups
}

// Usage returns the text of gateway --help: every flag with its default, in groups.
func Usage() string {
	var text strings.Builder
	text.WriteString("A WebSocket gateway of a WebSocketCluster: clients of several gateways that share a Redis reach each other.\n\n" +
		"Usage:\n  gateway [flags]\n\n" +
		"A flag wins over its environment variable (WSC_ and the flag in upper case, - as _),\n" +
		"that over the settings file, and that over the default.\n")
	for _, group := range usageGroups() {
		text.WriteString("\n" + group.title + ":\n" + group.flags.FlagUsages())
	}
	return text.String()
}
