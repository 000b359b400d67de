//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestRollingUpdateUnderLoad changes the image and a setting under clients that talk: all of them are asked to move, no faster
// than the drain rate, and none of them misses a message.
func TestRollingUpdateUnderLoad(t *testing.T) {
	t.Parallel()
	ctx := within(t, 12*time.Minute)
	ensureOperator(ctx, t)
	f := apply(ctx, t, newNamespace(ctx, t, "rollout"), spec(3))
	f.awaitSettled(ctx, t)
	before := names(f.mustPods(ctx, t))

	// 50 clients a pod, who at a drain rate of 20 a second need more than two seconds each time
	l := startLoad(ctx, t, f, 150, true)
	f.awaitVerified(ctx, t, 150)
	f.patch(ctx, t, `{"image":"wscluster.dev/gateway:`+nextVersion+`"}`)
	f.awaitSettled(ctx, t)
	if err := everyPodRuns(f.mustPods(ctx, t), "wscluster.dev/gateway:"+nextVersion); err != nil {
		t.Error(err)
	}
	r := l.finish(ctx, t)
	wantNobodyHurt(t, r)
	wantRateKept(t, r, 20)
	for _, pod := range before {
		if r.Asked[pod].Clients == 0 {
			t.Errorf("pod %s was replaced without asking its clients to move", pod)
		}
	}

	l = startLoad(ctx, t, f, 150, false)
	f.patch(ctx, t, `{"gateway":{"heartbeatSeconds":6}}`)
	f.awaitSettled(ctx, t)
	r = l.finish(ctx, t)
	wantNobodyHurt(t, r)
	wantRateKept(t, r, 20)
}

// TestLiveSettingReplacesNoPod changes a setting that gateways take over while they run.
func TestLiveSettingReplacesNoPod(t *testing.T) {
	t.Parallel()
	ctx := within(t, 8*time.Minute)
	ensureOperator(ctx, t)
	f := apply(ctx, t, newNamespace(ctx, t, "reload"), spec(2))
	f.awaitSettled(ctx, t)
	before := names(f.mustPods(ctx, t))
	alice := dial(ctx, t, f.url(ctx, t), "alice", sources[0])

	f.patch(ctx, t, `{"rooms":[{"match":"closed","join":"none"}]}`)
	// kubelet brings the file when it next looks after the pod
	eventually(ctx, t, "a connection of before is refused the room", func() error {
		answer := alice.command(ctx, map[string]any{"type": "join", "room_id": "closed"})
		if answer.Type != "error" || answer.Code != "forbidden" {
			return fmt.Errorf("the answer is %+v", answer)
		}
		return nil
	})
	f.awaitSettled(ctx, t)
	if after := names(f.mustPods(ctx, t)); strings.Join(after, " ") != strings.Join(before, " ") {
		t.Errorf("the pods were %v and are %v; want the same", before, after)
	}
}
