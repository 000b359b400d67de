//go:build browser

// Package browser tests the demo chat page in a real, headless Chromium against a cluster that wsc run runs on this machine.
// It takes the build tag browser, since not every machine has a Chromium: make test-browser.
package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/wscluster/wscluster/pkg/local/localtest"
)

var wsc string

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "wsc-browser-test-")
	if err == nil {
		wsc, err = localtest.Build(folder)
	}
	status := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		status = m.Run()
	}
	os.RemoveAll(folder)
	os.Exit(status)
}

func clusterFile(t *testing.T, spec string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "chat.yaml")
	edit(t, path, spec)
	return path
}

func edit(t *testing.T, path, spec string) {
	t.Helper()
	text := "apiVersion: wscluster.dev/v1alpha1\nkind: WebSocketCluster\nmetadata: {name: chat}\nspec: " + spec + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const twoGateways = "{replicas: 2, auth: {type: TrustedUserID}, service: {sessionAffinity: None}}"

// separate moves the second page until the two are on different gateways.
func separate(t *testing.T, first, second *page) {
	t.Helper()
	if first.node() == second.node() {
		second.click("#switch-node")
		second.await("another gateway", fmt.Sprintf(`document.getElementById("link-node").textContent !== %q`, first.node()))
	}
}

// twoPages opens alice's and bob's page in the room lobby, on two gateways.
func twoPages(t *testing.T, address string) (alice, bob *page) {
	t.Helper()
	browser := startBrowser(t)
	alice, bob = browser.open("http://"+address+"/"), browser.open("http://"+address+"/")
	alice.enter("alice")
	bob.enter("bob")
	separate(t, alice, bob)
	return alice, bob
}

func TestTwoPagesOnTwoGatewaysTalk(t *testing.T) {
	run := localtest.Start(t, wsc, nil, "-f", clusterFile(t, twoGateways), "--port", "0")
	alice, bob := twoPages(t, run.AwaitUp())

	alice.say("hello from alice")
	bob.hears("hello from alice")
	bob.say("hello from bob")
	alice.hears("hello from bob")
	bob.await("alice's gateway beside her message", fmt.Sprintf(`document.querySelector(".message:not(.mine) .via").textContent === %q`, alice.node()))

	// A direct message is counted while nobody looks, and read when it is opened.
	bob.do(chromedp.SendKeys("#person-id", "alice"))
	bob.pressEnter()
	bob.say("only for alice")
	bob.hears("only for alice")
	alice.await("an unread message", `document.querySelector('button.entry.user[data-id=bob] .badge')?.firstChild.data === "1"`)
	alice.openConversation("bob")
	alice.hears("only for alice")
	alice.await("that nothing is unread", `document.querySelector(".conversations .badge") === null`)
	alice.say("and only for bob")
	bob.hears("and only for bob")

	// A room that was left is not heard any more.
	alice.openConversation("lobby")
	alice.click("#leave")
	alice.await("that the room is gone", `document.querySelector('[data-id=lobby]') === null`)
	bob.openConversation("lobby")
	bob.say("nobody is here")
	bob.hears("nobody is here")
	alice.do(chromedp.SendKeys("#room-id", "lobby"))
	alice.pressEnter()
	alice.await("the room", `document.getElementById("talk-title").textContent === "lobby"`)
	bob.say("welcome back")
	alice.hears("welcome back")
	if text := eval[string](alice, `document.getElementById("messages").textContent`); strings.Contains(text, "nobody is here") {
		t.Error("alice got a message of a room that she had left")
	}
}

func TestTheButtonReachesAnotherGatewayDespiteAffinity(t *testing.T) {
	file := clusterFile(t, "{replicas: 2, auth: {type: TrustedUserID}, service: {sessionAffinityTimeoutSeconds: 10}}")
	run := localtest.Start(t, wsc, nil, "-f", file, "--port", "0")
	page := startBrowser(t).open("http://" + run.AwaitUp() + "/")
	page.enter("alice")
	before := page.node()
	page.click("#switch-node")
	page.await("an explanation", `document.getElementById("link-detail").textContent.includes("ClientIP affinity")`)
	page.await("the next gateway", fmt.Sprintf(`document.getElementById("link-node").textContent !== %q`, before))
	page.await("word of it", `document.getElementById("link-detail").textContent.includes("without a gap")`)
	page.say("from here as well")
	page.hears("from here as well")
}

func TestAPageSurvivesTheDeathOfItsGateway(t *testing.T) {
	run := localtest.Start(t, wsc, nil, "-f", clusterFile(t, twoGateways), "--port", "0")
	alice, bob := twoPages(t, run.AwaitUp())
	victim := run.Gateways()[bob.node()]
	alice.letNetworkFail()
	bob.letNetworkFail()
	if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	bob.say("written while my gateway dies")
	alice.hears("written while my gateway dies")
	bob.awaitConnected()
	bob.hears("written while my gateway dies")
	alice.say("still there?")
	bob.hears("still there?")
	bob.say("yes")
	alice.hears("yes")
}

// A gateway that is stopped keeps its connections and answers nothing, like a link that is dead in one direction. Its next
// heartbeat is further away than this test waits.
func TestAPageLeavesAGatewayThatDoesNotAnswer(t *testing.T) {
	run := localtest.Start(t, wsc, nil, "-f", clusterFile(t, strings.TrimSuffix(twoGateways, "}")+", gateway: {heartbeatSeconds: 300}}"), "--port", "0")
	alice, bob := twoPages(t, run.AwaitUp())
	victim := run.Gateways()[bob.node()]
	bob.letNetworkFail()
	if err := syscall.Kill(victim.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(victim.PID, syscall.SIGCONT) }) // so that it can end
	bob.say("written into the dark")
	alice.hears("written into the dark")
	bob.awaitConnected()
	bob.hears("written into the dark")
}

func TestADrainMovesAPageWithoutLosingOrDoublingAMessage(t *testing.T) {
	file := clusterFile(t, twoGateways)
	run := localtest.Start(t, wsc, nil, "-f", file, "--port", "0")
	address := run.AwaitUp()
	page := startBrowser(t).open("http://" + address + "/")
	page.enter("alice")
	gateways := run.Gateways()
	from := page.node()

	// A publisher on the other gateway, with company, so that the page's gateway is the one to go.
	var other localtest.Gateway
	for name, gateway := range gateways {
		if name != from {
			other = gateway
		}
	}
	var publisher *websocket.Conn
	for range 12 {
		ws, response, err := websocket.DefaultDialer.Dial("ws://"+other.Address+"/ws?user_id=ticker", nil)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		t.Cleanup(func() { _ = ws.Close() })
		publisher = ws
	}
	if err := publisher.WriteJSON(map[string]any{"type": "join", "room_id": "lobby"}); err != nil {
		t.Fatal(err)
	}
	edit(t, file, strings.Replace(twoGateways, "replicas: 2", "replicas: 1", 1))
	run.Await(from + `: draining`)
	var sent []string
	tick := func() {
		t.Helper()
		text := fmt.Sprintf("tick %d", len(sent)+1)
		if err := publisher.WriteJSON(map[string]any{"type": "publish", "room_id": "lobby", "data": text}); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, text)
		time.Sleep(25 * time.Millisecond) // the rate limit of the gateway is 50 a second
	}
	for deadline := time.Now().Add(localtest.Patience); page.node() == from; tick() {
		if time.Now().After(deadline) {
			t.Fatal("the page did not leave the gateway that drains")
		}
	}
	run.Await(from + `: drained`)
	for range 20 {
		tick()
	}
	page.hears(sent[len(sent)-1])
	got := eval[[]string](page, `[...document.querySelectorAll(".message .text")].map((row) => row.textContent)`)
	if diff := cmp.Diff(sent, got); diff != "" {
		t.Errorf("the page shows other messages than were sent (-sent +shown):\n%s", diff)
	}
}

func TestWhatOthersWriteIsTextOnly(t *testing.T) {
	run := localtest.Start(t, wsc, nil, "-f", clusterFile(t, "{replicas: 1, auth: {type: TrustedUserID}}"), "--port", "0")
	address := run.AwaitUp()
	page := startBrowser(t).open("http://" + address + "/")
	page.enter("alice")
	ws, response, err := websocket.DefaultDialer.Dial("ws://"+address+"/ws?user_id=%3Cb%3Emallory", nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	defer ws.Close()
	markup := `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`
	for _, data := range []any{
		markup, map[string]any{"text": markup, "name": markup, "via": markup, "key": markup}, map[string]any{"any": []any{markup}},
		map[string]any{"text": 5, "name": map[string]any{}}, nil, []any{}, 12.5,
	} {
		for _, target := range []string{"room_id", "target_user_id"} {
			to := map[string]string{"room_id": "lobby", "target_user_id": "alice"}[target]
			if err := ws.WriteJSON(map[string]any{"type": "join", "room_id": "lobby"}); err != nil {
				t.Fatal(err)
			}
			if err := ws.WriteJSON(map[string]any{"type": "publish", target: to, "data": data}); err != nil {
				t.Fatal(err)
			}
		}
	}
	page.hears(markup)
	page.hears("12.5")
	page.click(`button.entry.user`)
	page.hears("12.5")
	if found := eval[int](page, `document.querySelectorAll("#chat img:not(.brand img), #chat script, #chat b").length`); found != 0 {
		t.Errorf("%d elements came out of messages", found)
	}
	if title := eval[string](page, `document.title`); strings.Contains(title, "owned") {
		t.Error("a message ran a script")
	}
}

func TestAGuestIsShownByNameAndID(t *testing.T) {
	run := localtest.Start(t, wsc, nil, "-f", clusterFile(t, "{replicas: 1, auth: {type: Guest}}"), "--port", "0")
	browser, address := startBrowser(t), run.AwaitUp()
	alice, bob := browser.open("http://"+address+"/?name=alice&room=lobby"), browser.open("http://"+address+"/?name=bob&room=lobby")
	alice.name, bob.name = "guest-alice", "guest-bob"
	alice.awaitConnected()
	bob.awaitConnected()
	alice.say("hello")
	bob.hears("hello")
	bob.await("the name", `document.querySelector(".message .who").textContent === "alice"`)
	bob.await("the id that the server made", `document.querySelector(".message .head .id")?.textContent.length > 0`)
	bob.click(".message .who")
	bob.say("hello, whoever you are")
	alice.await("a direct message", `document.querySelector("button.entry.user .badge")`)
}

func TestARefusedRoomIsSaidAndGoes(t *testing.T) {
	file := clusterFile(t, `{replicas: 1, auth: {type: TrustedUserID}, rooms: [{match: "vault", join: none}]}`)
	run := localtest.Start(t, wsc, nil, "-f", file, "--port", "0")
	page := startBrowser(t).open("http://" + run.AwaitUp() + "/")
	page.enter("alice")
	page.do(chromedp.SendKeys("#room-id", "vault"))
	page.pressEnter()
	page.await("a notice", `document.getElementById("notices").textContent.includes("You cannot join vault")`)
	page.await("that the room is gone", `document.querySelector("[data-id=vault]") === null`)
}

func TestThePageFitsItsScreens(t *testing.T) {
	run := localtest.Start(t, wsc, nil, "-f", clusterFile(t, twoGateways), "--port", "0")
	browser, address := startBrowser(t), run.AwaitUp()
	alice, bob := browser.open("http://"+address+"/"), browser.open("http://"+address+"/")
	alice.named()
	for _, s := range []screen{desktop, phone, smallPhone} {
		alice.size(s)
		alice.fits("the entrance on a " + s.name)
		alice.name = "entrance"
		alice.shoot(s.name)
	}
	alice.size(desktop)
	alice.enter("alice")
	bob.enter("bob")
	separate(t, alice, bob)
	bob.say("Hello from the other gateway")
	alice.hears("Hello from the other gateway")
	alice.say("Hi Bob, I can see which one you are on")
	alice.say("and these two pages never met")
	bob.hears("and these two pages never met")
	long := "Long lines wrap, also " + strings.Repeat("anaddresswithoutanybreak", 8)
	bob.say(long)
	alice.hears(long)
	bob.do(chromedp.SendKeys("#person-id", "alice"))
	bob.pressEnter()
	bob.say("Psst, only for you")
	alice.await("an unread message", `document.querySelector("button.entry.user .badge")`)
	alice.do(chromedp.SendKeys("#room-id", "a-room-with-a-rather-long-name-that-does-not-fit-anywhere"))
	alice.pressEnter()
	alice.openConversation("lobby")
	alice.named()
	for _, s := range []screen{desktop, phone, smallPhone} {
		for _, scheme := range []string{"light", "dark"} {
			alice.size(s)
			alice.scheme(scheme)
			alice.fits("the conversation on a " + s.name)
			alice.shoot("talk-" + s.name + "-" + scheme)
			if s.mobile {
				alice.click("#back")
				alice.await("the list", `document.getElementById("join-room").checkVisibility()`)
				alice.fits("the list on a " + s.name)
				alice.shoot("list-" + s.name + "-" + scheme)
				alice.click(`button.entry[data-id=lobby]`)
			}
		}
	}
}
