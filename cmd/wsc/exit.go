package main

import "errors"

// The exit statuses that scripts can tell apart.
const (
	exitFailure = 1
	// exitUsage: the command line is wrong; nothing was tried.
	exitUsage = 2
	// exitUncertain: a message was sent, but is not known to be published.
	exitUncertain = 3
)

// exitError is an error with an exit status of its own.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string { return e.err.Error() }

func (e *exitError) Unwrap() error { return e.err }

func usageError(err error) error { return &exitError{exitUsage, err} }

func exitStatus(err error) int {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.status
	}
	return exitFailure
}
