//go:build browser

package browser

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wscluster/wscluster/pkg/local/localtest"
)

// The first client of the README does what the README says, in the console of the demo page.
func TestTheClientInTheReadmeWorks(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```js\n(.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatal("README.md has no JavaScript")
	}
	run := localtest.Start(t, wsc, nil, "-f", clusterFile(t, twoGateways), "--port", "0")
	address := run.AwaitUp()
	client := strings.ReplaceAll(string(block[1]), "127.0.0.1:8080", address)
	if !strings.Contains(client, address) {
		t.Fatal("the client in README.md does not connect to 127.0.0.1:8080, where make run listens")
	}
	page := startBrowser(t).open("http://" + address + "/")
	eval[bool](page, "globalThis.printed = []; console.log = (...values) => printed.push(values.join(' ')); true")
	eval[bool](page, client+"\n;true")
	page.await("the message", `printed.includes("alice hello from Alice")`)
}
