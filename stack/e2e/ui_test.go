package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/faas-gpu/faas-gpu/stack/digits"
	"github.com/faas-gpu/faas-gpu/stack/lab"
)

const newFunction = `//button[@ng-click="newFunction()" and contains(@class, "md-raised")]`

// TestUI does in the gateway's page what people do there: deploy by the form, see
// that the function is ready, invoke it and read the answer, delete it. With
// ARTIFACTS set, a picture of each step is put into that folder.
func TestUI(t *testing.T) {
	gateway, browser := os.Getenv("GATEWAY"), os.Getenv("CHROMIUM")
	if gateway == "" || browser == "" || os.Getenv("FAAS_CLI") == "" {
		t.Skip("GATEWAY, FAAS_CLI and CHROMIUM name no programs")
	}
	l := behindGateway(t, gateway)
	if l == nil {
		return // it has run in its namespace
	}
	build(t, l, "digits", "go-trt", "", nil)
	page := openBrowser(t, browser, l.Dir)
	scan := scans(t)[0]

	var answer, status string
	step(t, page, "1-login", chromedp.Navigate(strings.Replace(lab.GatewayURL, "://", "://"+l.User+":"+l.Password+"@", 1)+"/ui/"),
		visible(newFunction))
	step(t, page, "2-form", click(newFunction),
		click(`//md-tab-item[contains(., "Custom")]`),
		typed(`//input[@name="dockerImage"]`, "digits"), typed(`//input[@name="serviceName"]`, "digits"))
	step(t, page, "3-deployed", click(`//md-dialog-actions//button[contains(., "Deploy") and not(@disabled)]`),
		click(`//md-list-item[contains(., "digits")]//button`),
		visible(`//input[@value="Ready"]`))
	step(t, page, "4-answer", typed(`//textarea[@ng-model="invocation.request"]`, pixelsOf(t, scan)),
		click(`//button[@ng-click="fireRequest()"]`),
		poll(`document.querySelector('textarea[ng-model=invocationResponse]').value.includes('class')`),
		chromedp.Value(`//textarea[@ng-model="invocationResponse"]`, &answer, chromedp.BySearch),
		chromedp.Value(`//input[@ng-model="invocationStatus"]`, &status, chromedp.BySearch))
	if status != "200" || !strings.Contains(answer, fmt.Sprintf(`"class": %d,`, scan.Digit)) { // as the page formats it
		t.Errorf("the page shows status %s and answer %s to a %d", status, answer, scan.Digit)
	}
	step(t, page, "5-counted", visible(`//label[.="Invocation count"]/following-sibling::input[@value="1"]`))
	step(t, page, "6-deleted", click(`//button[@aria-label="Delete"]`),
		click(`//md-dialog-actions//button[contains(., "OK")]`),
		chromedp.WaitNotPresent(`//md-list-item[contains(., "digits")]`, chromedp.BySearch))
	if fns, err := l.List(t.Context()); err != nil || len(fns) != 0 {
		t.Errorf("after the deletion there are %v, %v", fns, err)
	}
}

func pixelsOf(t *testing.T, s digits.Scan) string {
	t.Helper()
	text, err := json.Marshal(s.Pixels)
	must(t, err)
	return string(text)
}

// openBrowser starts a headless browser with a profile in dir.
func openBrowser(t *testing.T, program, dir string) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox,
		chromedp.UserDataDir(filepath.Join(dir, "browser")), chromedp.WindowSize(1300, 1100),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	ctx, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	page, stopPage := chromedp.NewContext(ctx)
	t.Cleanup(stopPage)
	must(t, chromedp.Run(page)) // the browser lives as long as the page, not as its first step
	return page
}

// step does actions on the page, each found by an XPath, and takes a picture.
func step(t *testing.T, page context.Context, name string, actions ...chromedp.Action) {
	t.Helper()
	ctx, cancel := context.WithTimeout(page, 30*time.Second)
	defer cancel()
	err := chromedp.Run(ctx, actions...)
	var picture []byte
	if shot := chromedp.Run(page, chromedp.CaptureScreenshot(&picture)); shot != nil {
		t.Errorf("%s: picture: %v", name, shot)
	}
	if dir := os.Getenv("ARTIFACTS"); dir != "" {
		must(t, os.MkdirAll(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "ui-"+name+".png"), picture, 0o644))
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func visible(xpath string) chromedp.Action { return chromedp.WaitVisible(xpath, chromedp.BySearch) }

// click presses what is there, wherever the page's animations have moved it.
func click(xpath string) chromedp.Action {
	press := fmt.Sprintf("document.evaluate(%q, document, null, XPathResult.FIRST_ORDERED_NODE_TYPE).singleNodeValue.click()", xpath)
	return chromedp.Tasks{visible(xpath), chromedp.Evaluate(press, nil)}
}

func poll(expression string) chromedp.Action {
	return chromedp.Poll(expression, nil, chromedp.WithPollingInterval(50*time.Millisecond))
}

func typed(xpath, text string) chromedp.Action {
	return chromedp.SendKeys(xpath, text, chromedp.BySearch)
}
