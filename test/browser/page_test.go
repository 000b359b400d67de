//go:build browser

package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/wscluster/wscluster/pkg/local/localtest"
)

// screenshotsEnv names the folder for screenshots; unset: none are kept.
const screenshotsEnv = "WSC_SCREENSHOTS"

// browser is one Chromium.
type browser struct {
	t   *testing.T
	ctx context.Context
}

// startBrowser starts a Chromium with a profile of its own; every page of it is a tab.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Fatal("no Chromium is installed: apt-get install chromium (Debian)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	allocator, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for the browser's end, so that its profile can be removed
		cancel()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	return &browser{t, ctx}
}

// page is the chat in one tab.
type page struct {
	t    *testing.T
	ctx  context.Context
	name string

	mu sync.Mutex
	// faults are exceptions, console errors and violations of the policy.
	faults []string
	// networkMayFail: a gateway is being killed, so refused connections are no fault.
	networkMayFail bool
}

// open opens the chat in a new tab and fails the test at its end for everything that went wrong in the page.
func (b *browser) open(url string) *page {
	t := b.t
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	t.Cleanup(cancel)
	p := &page{t: t, ctx: ctx, name: url}
	if err := chromedp.Listen(ctx, p.listen); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, cdplog.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	p.size(desktop)
	p.do(chromedp.Navigate(url))
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, fault := range p.faults {
			t.Errorf("%s: %s", p.name, fault)
		}
	})
	return p
}

func (p *page) listen(event any) {
	fault := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		fault = (&chromedp.ExceptionError{ExceptionDetails: e.ExceptionDetails}).Error()
	case *runtime.EventConsoleAPICalled:
		text, _ := json.Marshal(e.Args)
		fault = fmt.Sprintf("console.%s %s", e.Type, text)
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.EntryLevelError || e.Entry.Level == cdplog.EntryLevelWarning {
			fault = fmt.Sprintf("%s: %s", e.Entry.Source, e.Entry.Text)
		}
	}
	if fault == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	network := strings.HasPrefix(fault, "network: ") || strings.Contains(fault, "WebSocket connection to") || strings.Contains(fault, "Failed to load resource")
	if !network || !p.networkMayFail {
		p.faults = append(p.faults, fault)
	}
}

func (p *page) letNetworkFail() {
	p.mu.Lock()
	p.networkMayFail = true
	p.mu.Unlock()
}

func (p *page) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, localtest.Patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// click clicks what the selector finds. The page makes parts of itself anew when something happens, and what was found may be gone before
// it is clicked: a person does not notice, and the click is tried again.
func (p *page) click(selector string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, localtest.Patience)
	defer cancel()
	for {
		err := chromedp.Do(ctx, chromedp.Click(selector))
		if err == nil {
			return
		}
		if ctx.Err() != nil || !strings.Contains(err.Error(), "Could not find node with given id") {
			p.t.Fatalf("%s: click %s: %v", p.name, selector, err)
		}
	}
}

// eval runs an expression in the page. The policy forbids eval to the page, not to the debugger.
func eval[T any](p *page, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, localtest.Patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s: %s: %v", p.name, expression, err)
	}
	return value
}

// await waits until the expression is true.
func (p *page) await(what, expression string) {
	p.t.Helper()
	for deadline := time.Now().Add(localtest.Patience); !eval[bool](p, "Boolean("+expression+")"); time.Sleep(30 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.shoot("failed")
			p.t.Fatalf("%s: %s did not happen; the page says: %s", p.name, what, eval[string](p, "document.body.innerText"))
		}
	}
}

// enter fills in the name, keeps the room lobby, and waits for the connection.
func (p *page) enter(name string) {
	p.t.Helper()
	p.name = name
	p.do(chromedp.SetValue("#name", name))
	p.click("#enter button")
	p.awaitConnected()
}

func (p *page) awaitConnected() {
	p.t.Helper()
	p.await("a connection", `document.documentElement.dataset.link === "connected"`)
}

func (p *page) node() string {
	p.t.Helper()
	return eval[string](p, `document.getElementById("link-node").textContent`)
}

// pressEnter presses the key as a keyboard does: a page that handles the key down keeps the character from coming.
func (p *page) pressEnter() {
	p.t.Helper()
	for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp} {
		event := input.DispatchKeyEventParams{Type: kind, Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: 13, NativeVirtualKeyCode: 13}
		if kind == input.DispatchKeyEventTypeKeyDown {
			event.Text = "\r"
		}
		if _, err := chromedp.Call(p.ctx, input.DispatchKeyEvent, event); err != nil {
			p.t.Fatal(err)
		}
	}
}

// say writes a message and sends it with Enter.
func (p *page) say(text string) {
	p.t.Helper()
	p.do(chromedp.SendKeys("#text", text))
	p.pressEnter()
}

// hears waits for a message in the open conversation that is not on its way any more.
func (p *page) hears(text string) {
	p.t.Helper()
	quoted, _ := json.Marshal(text)
	p.await("the message "+text, `[...document.querySelectorAll(".message:not(.sending, .failed) .text")].some((row) => row.textContent === `+string(quoted)+`)`)
}

func (p *page) openConversation(id string) {
	p.t.Helper()
	p.click(fmt.Sprintf(`button.entry[data-id=%s]`, id))
	p.await("the conversation "+id, fmt.Sprintf(`document.getElementById("talk-title").textContent === %q`, id))
}

// screen is what a page is shown on.
type screen struct {
	name          string
	width, height int64
	mobile        bool
}

var (
	desktop    = screen{"desktop", 1200, 800, false}
	phone      = screen{"phone", 390, 844, true}
	smallPhone = screen{"small-phone", 320, 568, true}
)

func (p *page) size(s screen) {
	p.t.Helper()
	scale := 1.0
	if s.mobile {
		scale = 2
	}
	if _, err := chromedp.Call(p.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: s.width, Height: s.height, DeviceScaleFactor: scale, Mobile: s.mobile,
	}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *page) scheme(name string) {
	p.t.Helper()
	if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
	}); err != nil {
		p.t.Fatal(err)
	}
}

// fits fails the test if the page, or a part of it that scrolls by itself, is wider than its place on the screen.
func (p *page) fits(where string) {
	p.t.Helper()
	wide := eval[[]string](p, `[document.documentElement, ...document.querySelectorAll(".side, .group, .talk, .messages, .talk-head, .composer")]
		.filter((part) => part.scrollWidth > part.clientWidth).map((part) => (part.className || "page") + " by " + (part.scrollWidth - part.clientWidth) + " px")`)
	if len(wide) > 0 {
		p.t.Errorf("%s: %s is too wide: %s", p.name, where, strings.Join(wide, ", "))
	}
}

// shoot keeps a screenshot, if a folder is given.
func (p *page) shoot(name string) {
	p.t.Helper()
	folder := os.Getenv(screenshotsEnv)
	if folder == "" {
		return
	}
	picture, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.MkdirAll(folder, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, p.name+"-"+name+".png"), picture, 0o644)
	}
	if err != nil {
		p.t.Errorf("screenshot: %v", err)
	}
}

// named fails the test for buttons and fields that a screen reader could not name.
func (p *page) named() {
	p.t.Helper()
	tree, err := chromedp.Call(p.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		p.t.Fatal(err)
	}
	controls := 0
	for _, node := range tree.Nodes {
		if node.Ignored || node.Role == nil {
			continue
		}
		role := strings.Trim(string(node.Role.Value), `"`)
		if role != "button" && role != "textbox" {
			continue
		}
		controls++
		if node.Name == nil || strings.Trim(string(node.Name.Value), `" `) == "" {
			p.t.Errorf("%s: a %s has no name for screen readers", p.name, role)
		}
	}
	if controls == 0 {
		p.t.Errorf("%s: no control was found", p.name)
	}
}
