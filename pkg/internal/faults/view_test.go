package faults

import "fmt"

// view follows what one client saw of one room.
type view struct {
	verdict      *verdict
	room, client int
	truth        map[position]message
	size         int64 // of the log

	member bool
	at     position
	// listing is true after a join that did not recover, until all that was in the log at the join has come: it begins anywhere
	// and may hold what the client has had before. It ends at listed.
	listing, begun bool
	listed         int64

	seen map[message]position
	// forgotten are places that the log had let go of, as the client was told.
	forgotten map[position]bool
	// holes are places that the client should have been given, and was not.
	holes map[position]bool
	// reached is the highest offset that came, by epoch.
	reached map[string]int64
}

func newView(v *verdict, room, client, size int, truth map[position]message) *view {
	return &view{
		verdict: v, room: room, client: client, size: int64(size), truth: truth, forgotten: map[position]bool{},
		seen: map[message]position{}, holes: map[position]bool{}, reached: map[string]int64{},
	}
}

func (w *view) take(h happening) {
	switch h.what {
	case joined:
		w.join(h)
	case epochChanged:
		w.change(h)
	case delivered:
		w.deliver(h)
	}
}

func (w *view) join(h happening) {
	switch {
	case h.recovered && (!w.member || h.epoch != w.at.epoch):
		w.contradiction("told that it recovered, in epoch %s, from %v", h.epoch, w.at)
	case h.recovered:
		return
	case h.asked && h.epoch == w.at.epoch && h.offset-w.at.offset > w.size:
		w.forget(h.offset)
	case h.asked && h.epoch == w.at.epoch:
		w.contradiction("refused to recover from %v though the epoch lives, at %d", w.at, h.offset)
	}
	w.member, w.at = true, position{h.epoch, 0}
	w.listing, w.begun, w.listed = h.offset > 0, false, h.offset
}

func (w *view) change(h happening) {
	if h.epoch == w.at.epoch && w.highest(h.epoch) >= h.offset+w.size {
		w.forget(h.offset)
	} else if h.epoch == w.at.epoch {
		for offset := w.at.offset + 1; offset <= h.offset; offset++ {
			w.holes[position{h.epoch, offset}] = true
		}
	}
	w.at, w.listing = h.position, false
	if w.highest(h.epoch) >= h.offset+w.size {
		w.at.offset = 0
		w.forget(h.offset) // of the new epoch, before anybody here has looked
		w.at.offset = h.offset
	}
}

// forget notes that the client was told that it is not given what follows on its place, up to an offset. What it is given of that
// all the same, it has.
func (w *view) forget(upTo int64) {
	for offset := w.at.offset + 1; offset <= upTo; offset++ {
		w.forgotten[position{w.at.epoch, offset}] = true
	}
}

// highest is the largest offset of an epoch that anybody was told of.
func (w *view) highest(epoch string) (offset int64) {
	for at := range w.truth {
		if at.epoch == epoch {
			offset = max(offset, at.offset)
		}
	}
	return offset
}

func (w *view) deliver(h happening) {
	w.verdict.Delivered++
	if !w.member || h.epoch != w.at.epoch {
		w.contradiction("got %v at %v, without having been told of that epoch (it was at %v)", h.message, h.position, w.at)
		w.at = position{h.epoch, h.offset - 1}
	}
	old := w.listing && h.offset <= w.listed
	if w.listing && !w.begun {
		w.begun = true
		if w.listed-h.offset+1 >= w.size {
			w.forget(h.offset - 1)
		}
		w.at.offset = min(h.offset-1, w.listed)
	}
	before, again := w.seen[h.message]
	switch {
	case w.holes[h.position]:
		delete(w.holes, h.position)
		w.verdict.Reordered++
		w.trouble().reordered = append(w.trouble().reordered, fmt.Sprintf("%v came when the client was at %v already", h.position, w.at))
	case again && before.epoch == h.epoch && !old:
		w.verdict.Doubled++
		w.trouble().doubled = append(w.trouble().doubled, fmt.Sprintf("%v at %v and at %v", h.message, before, h.position))
	case again && !old:
		w.verdict.Again++
	case !again && h.offset <= w.at.offset:
		w.verdict.Reordered++
		w.trouble().reordered = append(w.trouble().reordered, fmt.Sprintf("%v came when the client was at %v already", h.position, w.at))
	}
	if !again || before.epoch != h.epoch {
		w.seen[h.message] = h.position
	}
	for offset := w.at.offset + 1; offset < h.offset; offset++ {
		w.holes[position{h.epoch, offset}] = true
	}
	w.at.offset = max(w.at.offset, h.offset)
	w.reached[h.epoch] = max(w.reached[h.epoch], h.offset)
	if w.at.offset >= w.listed {
		w.listing = false
	}
}

// finish looks for what never came: places that were passed over, and what was acked and not seen.
func (w *view) finish(e *evidence) {
	lost := w.holes
	for _, published := range e.published {
		for _, p := range published {
			at, ok := p.acked()
			if _, seen := w.seen[p.message]; !ok || seen || p.room != w.room || lost[at] {
				continue
			}
			switch living := at.epoch != notKept && (at.epoch == e.epochs[w.room] || at.offset <= w.reached[at.epoch]); {
			case living && !w.forgotten[at]:
				lost[at] = true // the end of the log did not come, or a new epoch was said to begin behind it
			default:
				w.verdict.Declared++
			}
		}
	}
	for at := range lost {
		w.trouble().lost = append(w.trouble().lost, fmt.Sprintf("%v at %v", w.truth[at], at))
	}
	w.verdict.Lost += len(lost)
	if w.at.epoch != e.epochs[w.room] {
		w.contradiction("was left in epoch %s, the log is in %s", w.at.epoch, e.epochs[w.room])
	}
}

func (w *view) trouble() *trouble { return w.verdict.at(w.room, w.client) }

func (w *view) contradiction(format string, args ...any) {
	w.verdict.contradiction("room %d, client %d: %s", w.room, w.client, fmt.Sprintf(format, args...))
}
