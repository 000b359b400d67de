package bench

import (
	"slices"
	"time"
)

// Asked says how a gateway sent clients away.
type Asked struct {
	// Clients were asked to connect anew.
	Clients int `json:"clients"`
	// PeakPerSecond is how many of them at most had their turn within one second.
	PeakPerSecond int `json:"peak_per_second"`
}

// turns are the times at which the clients of one gateway were to connect anew: a gateway tells them in several waves, each a moment
// ahead, so a frame that a busy machine brings late moves its turn.
type turns struct{ at []time.Duration }

// askedBy counts a client that is to connect anew after the delay.
func (g *Generator) askedBy(node string, delay time.Duration) {
	t := g.asked[node]
	if t == nil {
		t = &turns{}
		g.asked[node] = t
	}
	t.at = append(t.at, g.now+delay)
}

func (t *turns) summary() Asked {
	at := slices.Sorted(slices.Values(t.at))
	a := Asked{Clients: len(at)}
	for first, last := 0, 0; last < len(at); last++ {
		for at[last]-at[first] >= time.Second {
			first++
		}
		a.PeakPerSecond = max(a.PeakPerSecond, last-first+1)
	}
	return a
}

func (g *Generator) askedReport() map[string]Asked {
	if len(g.asked) == 0 {
		return nil
	}
	all := map[string]Asked{}
	for node, t := range g.asked {
		all[node] = t.summary()
	}
	return all
}
