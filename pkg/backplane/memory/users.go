package memory

import (
	"slices"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// user is what is known of one user. Its shard's mutex guards it.
type user struct {
	connections []connection // oldest first
	seenUntil   time.Time
}

type connection struct {
	id     string
	opened time.Time
}

// Attend implements backplane.Users. This process is the only one, so there is never a doubt. done is called before it returns.
func (b *Backplane) Attend(target backplane.Target, a backplane.Attendance, done func(backplane.Attended, error)) {
	if !b.enter() {
		done(backplane.Attended{}, errClosed)
		return
	}
	defer b.leave()
	b.startSweeping()
	now := time.Now()
	s := b.shard(target)
	s.mu.Lock()
	u := s.users[target]
	if u == nil {
		if s.users == nil {
			s.users = make(map[backplane.Target]*user)
		}
		u = &user{}
		s.users[target] = u
	}
	if a.Seen > 0 {
		u.seenUntil = now.Add(a.Seen)
	}
	attended := backplane.Attended{Replaced: u.attend(&a, now)}
	s.mu.Unlock()
	done(attended, nil)
}

// attend takes over what is told and returns the connections that are over the limit.
func (u *user) attend(a *backplane.Attendance, now time.Time) (replaced []string) {
	if a.Limit == 0 {
		u.connections = nil
		return nil
	}
	u.connections = slices.DeleteFunc(u.connections, func(c connection) bool {
		told := slices.ContainsFunc(a.Came, func(came backplane.Connection) bool { return came.ID == c.id })
		return slices.Contains(a.Left, c.id) || a.All && !told
	})
	for _, came := range a.Came {
		if !slices.ContainsFunc(u.connections, func(c connection) bool { return c.id == came.ID }) {
			u.connections = append(u.connections, connection{came.ID, now.Add(-came.Age)})
		}
	}
	slices.SortStableFunc(u.connections, func(x, y connection) int { return x.opened.Compare(y.opened) })
	for len(u.connections) > a.Limit {
		replaced = append(replaced, u.connections[0].id)
		u.connections = u.connections[1:]
	}
	return replaced
}

// remembers says whether a message for the target may begin a log, or go on with one.
func (s *shard) remembers(target backplane.Target, now time.Time) bool {
	if l := s.logs[target]; l != nil && now.Before(l.expires) {
		return true
	}
	u := s.users[target]
	return u != nil && now.Before(u.seenUntil)
}
