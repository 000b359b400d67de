package controller

import (
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

// mender says who can make a problem go away.
type mender int

const (
	// byTime: trying again may help.
	byTime mender = iota
	// bySpec: only a change of the WebSocketCluster helps.
	bySpec
	// byOthers: somebody has to change something else, which the operator is not told of.
	byOthers
)

// writeProblem is why one object, or all, could not be written.
type writeProblem struct {
	// object is Kind/name, or the step that failed.
	object   string
	reason   string
	mendedBy mender
	err      error
}

func (p *writeProblem) Error() string { return p.object + ": " + p.err.Error() }
func (p *writeProblem) Unwrap() error { return p.err }

// message is the problem in words for a condition.
func (p *writeProblem) message() string {
	switch p.reason {
	case v1alpha1.ReasonApplyRefused:
		if p.mendedBy == byOthers {
			return fmt.Sprintf("the API server refuses %s: %s; grant it (a quota, a right of the operator, an admission rule), the operator tries again every %s",
				p.object, statusMessage(p.err), waitForOutside)
		}
		return fmt.Sprintf("the API server refuses %s: %s; change the spec accordingly", p.object, statusMessage(p.err))
	default:
		return p.object + ": " + statusMessage(p.err)
	}
}

// notOwnedError says that an object with a name that the operator needs belongs to somebody else.
type notOwnedError struct{ owner string }

func (e *notOwnedError) Error() string {
	return fmt.Sprintf("exists and belongs to %s; delete or rename it, or give the WebSocketCluster another name", e.owner)
}

// classify finds out what kind of problem an error is.
func classify(object string, err error) *writeProblem {
	problem := &writeProblem{object: object, err: err, reason: v1alpha1.ReasonApplyFailed}
	var notOwned *notOwnedError
	switch {
	case errors.As(err, &notOwned):
		problem.reason, problem.mendedBy = v1alpha1.ReasonNotOwned, byOthers
	case apierrors.IsForbidden(err):
		problem.reason, problem.mendedBy = v1alpha1.ReasonApplyRefused, byOthers
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		problem.reason, problem.mendedBy = v1alpha1.ReasonApplyRefused, bySpec
	}
	return problem
}

// statusMessage is an error on one line.
func statusMessage(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
