package settings

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Action is what the command line asks the process to do.
type Action int

// The actions.
const (
	// Run starts the gateway.
	Run Action = iota
	// Check was asked for with --check: the settings are valid, and the process exits with status 0.
	Check
	// Help was asked for with --help: print Usage, and exit with status 0.
	Help
	// Version was asked for with --version: print the version, and exit with status 0.
	Version
)

// FromCommandLine merges flags, environment, file and defaults, in this order of precedence, and validates the whole: also that
// every file named in the settings can be read and holds what it should. An empty Node becomes the host name.
//
// Args come without the program's name, environ as os.Environ returns it. An error is one line that names the flag, the variable or
// the file's line and key, and what is allowed; the process should print it and exit with status 2. With Help and Version
// the settings are empty and nothing else was looked at.
func FromCommandLine(args, environ []string) (Settings, Action, error) {
	line, err := readCommandLine(args, environ)
	if err != nil || line.action == Help || line.action == Version {
		return Settings{}, line.action, err
	}
	s, err := line.load()
	return s, line.action, err
}

// text is what a flag or a variable gives an option.
type text struct {
	option *option
	value  string
	// where is --flag or WSC_VARIABLE.
	where string
}

// commandLine is what flags and environment say; the file it names is read by load, again and again while it is watched.
type commandLine struct {
	action Action
	// config is the path of the settings file; empty: none.
	config      string
	configWhere string
	// texts are in the order in which they are applied: variables, then flags.
	texts []text
}

// load reads the file and merges everything.
func (c *commandLine) load() (Settings, error) {
	s, from := Default(), map[string]string{}
	if c.config != "" {
		data, err := readSmallFile(c.config)
		if err != nil {
			return Settings{}, fmt.Errorf("%s: %w", c.configWhere, err)
		}
		if err := readFile(c.config, data, &s, from); err != nil {
			return Settings{}, err
		}
	}
	for _, t := range c.texts {
		field := t.option.bind(&s)
		from[t.option.path] = t.where
		if err := field.fromText(t.value); err != nil {
			return Settings{}, fmt.Errorf("%s: %w", t.where, err)
		}
		if err := field.check(); err != nil {
			return Settings{}, fmt.Errorf("%s: %w", t.where, err)
		}
	}
	s, err := finish(s, from)
	if err != nil {
		return Settings{}, err
	}
	if s.Node == "" {
		if s.Node, err = os.Hostname(); err != nil || s.Node == "" {
			return Settings{}, fmt.Errorf("--node: must be given, since this machine has no host name")
		}
	}
	if wrong := s.checkFiles(); wrong != nil {
		return Settings{}, wrong.explain(from)
	}
	return s, nil
}

func readCommandLine(args, environ []string) (*commandLine, error) {
	line := &commandLine{}
	if err := line.readEnvironment(environ); err != nil {
		return line, err
	}
	flags := flagSet()
	given := map[string][]string{}
	var order []string
	err := flags.ParseAll(args, func(flag *pflag.Flag, value string) error {
		if given[flag.Name] == nil {
			order = append(order, flag.Name)
		}
		given[flag.Name] = append(given[flag.Name], value)
		return nil
	})
	if errors.Is(err, pflag.ErrHelp) {
		line.action = Help
		return line, nil
	}
	if err != nil {
		return line, plainFlagError(err)
	}
	if rest := flags.Args(); len(rest) > 0 {
		return line, fmt.Errorf("%q: is not a flag; values of switches need an equals sign, such as --demo=true", rest[0])
	}
	err = line.readFlags(order, given)
	return line, err
}

func (c *commandLine) readFlags(order []string, given map[string][]string) error {
	for _, name := range order {
		values := given[name]
		last := values[len(values)-1]
		switch name {
		case "config":
			c.config, c.configWhere = last, "--config"
		case "check", "version":
			on := false
			if err := (switchValue{&on}).fromText(last); err != nil {
				return fmt.Errorf("--%s: %w", name, err)
			}
			switch {
			case on && name == "version":
				c.action = Version
			case on && c.action != Version:
				c.action = Check
			}
		default:
			o := optionByFlag(name)
			if o.kind == "list" {
				// A list may be given in several flags; everything else holds what was said last.
				last = strings.Join(values, ",")
			}
			c.texts = append(c.texts, text{o, last, "--" + name})
		}
	}
	return nil
}

func optionByFlag(name string) *option {
	for _, o := range options {
		if o.flag == name {
			return o
		}
	}
	return nil
}

// readEnvironment takes the variables that start with WSC_. An unknown one is an error, since it is most likely a slip.
func (c *commandLine) readEnvironment(environ []string) error {
	variables := slices.Sorted(slices.Values(environ))
	for _, variable := range variables {
		name, value, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, environmentPrefix) || serviceLink.MatchString(name) {
			continue
		}
		if name == environmentName("config") {
			c.config, c.configWhere = value, name
			continue
		}
		i := slices.IndexFunc(options, func(o *option) bool { return o.environment() == name })
		if i < 0 {
			return unknownVariable(name)
		}
		c.texts = append(c.texts, text{options[i], value, name})
	}
	return nil
}

// serviceLink matches what Kubernetes puts into every pod's environment for a Service whose name starts with "wsc".
var serviceLink = regexp.MustCompile(`_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$`)

func unknownVariable(name string) error {
	if name == environmentName("check") || name == environmentName("version") {
		return fmt.Errorf("%s: is not a setting; write the flag --%s", name, strings.ToLower(strings.TrimPrefix(name, environmentPrefix)))
	}
	// The common beginning says nothing about which one is meant.
	known := []string{strings.TrimPrefix(environmentName("config"), environmentPrefix)}
	for _, o := range options {
		known = append(known, strings.TrimPrefix(o.environment(), environmentPrefix))
	}
	hint := strings.Replace(suggest(strings.TrimPrefix(name, environmentPrefix), known), "mean ", "mean "+environmentPrefix, 1)
	return fmt.Errorf("%s: is not a known setting%s; variables that start with %s are the gateway's", name, hint, environmentPrefix)
}

// flagValue shows an option to pflag, which only parses the command line: values are applied later, over the file.
type flagValue struct{ kind, standard string }

func (f flagValue) String() string   { return f.standard }
func (f flagValue) Set(string) error { return nil }
func (f flagValue) Type() string {
	if f.kind == "" {
		return "bool"
	}
	return f.kind
}

func flagSet() *pflag.FlagSet {
	all := pflag.NewFlagSet("gateway", pflag.ContinueOnError)
	for _, group := range usageGroups() {
		all.AddFlagSet(group.flags)
	}
	all.Usage = func() {}
	return all
}

// plainFlagError rewrites pflag's errors so that they start with the flag, as all others do.
func plainFlagError(err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var syntax *pflag.InvalidSyntaxError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		short := unknown.GetSpecifiedShortnames()
		name, _, _ := strings.Cut(short, "=")
		if optionByFlag(name) != nil {
			return fmt.Errorf("-%s: flags start with two dashes: write --%s", name, name)
		}
		return fmt.Errorf("-%s: is not a known flag; gateway --help lists all", name)
	case errors.As(err, &unknown):
		names := []string{"config", "check", "version", "help"}
		for _, o := range options {
			names = append(names, o.flag)
		}
		hint := suggest(unknown.GetSpecifiedName(), names)
		if hint == "" {
			hint = "; gateway --help lists all"
		} else {
			hint = strings.Replace(hint, "mean ", "mean --", 1)
		}
		return fmt.Errorf("--%s: is not a known flag%s", unknown.GetSpecifiedName(), hint)
	case errors.As(err, &missing):
		return fmt.Errorf("--%s: needs a value: write --%s=%s", missing.GetSpecifiedName(), missing.GetSpecifiedName(), strings.ToUpper(missing.GetFlag().Value.Type()))
	case errors.As(err, &syntax):
		return fmt.Errorf("%s: is not a flag; write --name=value", strings.TrimPrefix(syntax.Error(), "bad flag syntax: "))
	}
	return errors.New(oneLine(err.Error()))
}
