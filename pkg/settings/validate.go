package settings

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// keyError is a wrong setting, named by its path in the file. The loader puts in its place where the value came from.
type keyError struct {
	path    string
	problem error
}

func (e *keyError) Error() string {
	return e.path + ": " + nameOptions(e.problem.Error(), func(o *option) string { return o.path })
}

func (e *keyError) Unwrap() error { return e.problem }

// Validate says in one line what is wrong with the settings, or returns nil. The line starts with the key in the form of the
// file, such as drain.delaySeconds. It opens no file and no connection. Settings that pass can be given to Marshal.
func (s *Settings) Validate() error {
	if wrong := s.validate(); wrong != nil {
		return wrong
	}
	return nil
}

func (s *Settings) validate() *keyError {
	for _, o := range options {
		if err := o.bind(s).check(); err != nil {
			return &keyError{o.path, err}
		}
	}
	if wrong := s.validateRooms(); wrong != nil {
		return wrong
	}
	for _, rule := range contradictions {
		if wrong := rule(s); wrong != nil {
			return wrong
		}
	}
	return nil
}

func (s *Settings) validateRooms() *keyError {
	for i := range s.Rooms {
		policy := &s.Rooms[i]
		key := fmt.Sprintf("rooms[%d]", i)
		if wrong := checkFields(key, roomFields(policy)); wrong != nil {
			return wrong
		}
		if policy.History == nil {
			continue
		}
		if wrong := checkFields(key+".history", historyFields(policy.History)); wrong != nil {
			return wrong
		}
	}
	if err := directMessagesValue(s).check(); err != nil {
		return &keyError{"directMessages.publish", err}
	}
	if s.Inbox != nil {
		return checkFields("inbox", inboxFields(s.Inbox))
	}
	return nil
}

func checkFields(key string, fields map[string]value) *keyError {
	for _, name := range sortedKeys(fields) {
		if err := fields[name].check(); err != nil {
			return &keyError{key + "." + name, err}
		}
	}
	return nil
}

// contradictions are the rules over several settings. A sentence names other options as {flag}, which becomes the flag, or
// the key where the value came from a file.
var contradictions = []func(*Settings) *keyError{
	tokensNeedAKey,
	tokenSettingsNeedTokens,
	certificatesNeedKeys,
	redisFilesFitTheBackplane,
	queueHoldsOneMessage,
	burstAllowsTheRate,
	portsDiffer,
}

func refuse(path, format string, arguments ...any) *keyError {
	return &keyError{path, fmt.Errorf(format, arguments...)}
}

func tokensNeedAKey(s *Settings) *keyError {
	jwt := s.Auth.JWT
	switch {
	case s.Auth.Type != AuthJWT:
		return nil
	case jwt.SecretFile == "" && jwt.JWKSURL == "":
		return refuse("auth.type", "jwt needs a key to verify tokens with: set {jwks-url}, or {jwt-secret-file}")
	case jwt.SecretFile != "" && jwt.JWKSURL != "":
		return refuse("auth.jwt.secretFile", "cannot be combined with {jwks-url}: keep the one that your tokens are signed for")
	}
	return nil
}

// tokenSettingsNeedTokens matters for safety: somebody who gives a key but forgets the type would let everybody in as a guest.
func tokenSettingsNeedTokens(s *Settings) *keyError {
	if s.Auth.Type == AuthJWT {
		return nil
	}
	standard := Default()
	for _, o := range options {
		if strings.HasPrefix(o.path, "auth.jwt.") && o.bind(s).String() != o.bind(&standard).String() {
			return refuse(o.path, "is only for tokens, but {auth} is %s: set {auth} to jwt, or leave this out", s.Auth.Type)
		}
	}
	return nil
}

func certificatesNeedKeys(s *Settings) *keyError {
	switch {
	case s.TLSCertFile != "" && s.TLSKeyFile == "":
		return refuse("tlsCertFile", "a certificate needs its private key: set {tls-key-file} too")
	case s.TLSKeyFile != "" && s.TLSCertFile == "":
		return refuse("tlsKeyFile", "a private key needs its certificate: set {tls-cert-file} too")
	case s.Redis.CertFile != "" && s.Redis.KeyFile == "":
		return refuse("redisCertFile", "a client certificate needs its private key: set {redis-key-file} too")
	case s.Redis.KeyFile != "" && s.Redis.CertFile == "":
		return refuse("redisKeyFile", "a private key needs its client certificate: set {redis-cert-file} too")
	}
	return nil
}

func redisFilesFitTheBackplane(s *Settings) *keyError {
	backplane, err := parseBackplane(s.Backplane)
	if err != nil {
		return &keyError{"backplane", err}
	}
	for _, path := range []string{"redisPasswordFile", "redisCAFile", "redisCertFile", "redisServerName"} {
		if optionByPath(path).bind(s).String() == "" {
			continue
		}
		if backplane.scheme == "memory" {
			return refuse(path, "is for Redis, but {backplane} is memory://: set {backplane} to a redis URL, or leave this out")
		}
		if !backplane.tls && path != "redisPasswordFile" {
			return refuse(path, "is for TLS, but {backplane} starts with %s://: write rediss instead of redis, or leave this out", backplane.scheme)
		}
	}
	if backplane.password && s.Redis.PasswordFile != "" {
		return refuse("redisPasswordFile", "cannot be combined with a password in {backplane}: keep one of the two")
	}
	return nil
}

func queueHoldsOneMessage(s *Settings) *keyError {
	if s.Limits.SendQueueBytes < s.Limits.MaxMessageBytes {
		return refuse("limits.sendQueueBytes", "is %d, but one message may have %d bytes ({max-message-bytes}): the queue must hold at least one", s.Limits.SendQueueBytes, s.Limits.MaxMessageBytes)
	}
	return nil
}

func burstAllowsTheRate(s *Settings) *keyError {
	if s.Limits.MessagesPerSecond > 0 && s.Limits.MessageBurst < 1 {
		return refuse("limits.messageBurst", "must be at least 1 while {messages-per-second} is %d, else no message ever passes; {messages-per-second} 0 means no limit", s.Limits.MessagesPerSecond)
	}
	return nil
}

func portsDiffer(s *Settings) *keyError {
	switch {
	case sameFixedAddress(s.OpsListen, s.Listen):
		return refuse("opsListen", "is %s, and so is {listen}: give each its own port", s.OpsListen)
	case s.APIKeyFile != "" && sameFixedAddress(s.APIListen, s.Listen):
		return refuse("apiListen", "is %s, and so is {listen}: give each its own port", s.APIListen)
	case s.APIKeyFile != "" && sameFixedAddress(s.APIListen, s.OpsListen):
		return refuse("apiListen", "is %s, and so is {ops-listen}: give each its own port", s.APIListen)
	}
	return nil
}

var optionName = regexp.MustCompile(`\{[a-z-]+\}`)

// nameOptions replaces {flag} by the option's name in the reader's own form.
func nameOptions(sentence string, name func(*option) string) string {
	return optionName.ReplaceAllStringFunc(sentence, func(match string) string {
		for _, o := range options {
			if o.flag == match[1:len(match)-1] {
				return name(o)
			}
		}
		return match
	})
}

// explain turns a finding into the error that is shown: it starts with where the value came from.
func (e *keyError) explain(from map[string]string) error {
	where, known := from[e.path]
	o := optionByPath(e.path)
	name := func(o *option) string { return "--" + o.flag }
	switch {
	case known && !strings.HasPrefix(where, "--") && !strings.HasPrefix(where, environmentPrefix):
		name = func(o *option) string { return o.path }
	case known && strings.HasPrefix(where, environmentPrefix):
		name = (*option).environment
	case !known && o != nil:
		where = "--" + o.flag
	case !known:
		where = e.path
	}
	return errors.New(where + ": " + nameOptions(e.problem.Error(), name))
}
