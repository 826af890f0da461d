package atlas

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// groupsBrowser starts a browser with an empty tab, or skips the test where there is none.
func groupsBrowser(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser takes long to start")
	}
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium on this machine")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithAllocatorOptions(
		chromedp.ExecPath(path), chromedp.WindowSize(1280, 900), chromedp.WSURLReadTimeout(3*time.Minute)))
	t.Cleanup(cancel)
	return ctx
}

// inBrowser runs steps in the browser.
func inBrowser(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// pageValue evaluates an expression in the page.
func pageValue[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// lookAtPage writes a picture of the page into the folder that IMGSEARCH_LOOK names.
func lookAtPage(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("IMGSEARCH_LOOK")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestGroupsPageInBrowser uses the page as a person does: it hovers, clicks, filters, sorts, and follows a link. Nothing
// may go wrong on the console.
func TestGroupsPageInBrowser(t *testing.T) {
	ctx := groupsBrowser(t)
	for name, page := range map[string]GroupsPage{"labels": groupsPageOf(6, 14, 5), "plain": groupsPageOf(3, 4, 0), "many-labels": groupsPageOf(2, 8, 1000), "empty": groupsPageOf(0, 0, 0)} {
		file := filepath.Join(t.TempDir(), name+".html")
		f, err := os.Create(file)
		if err == nil {
			err = WriteGroupsPage(f, page)
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		messages := chromedp.Console(ctx)
		inBrowser(t, ctx, chromedp.Navigate((&url.URL{Scheme: "file", Path: filepath.ToSlash(file)}).String()))
		if n := pageValue[int](t, ctx, `document.querySelectorAll("#groups > section").length`); n != len(page.Groups) {
			t.Errorf("%s: %d sections", name, n)
		}
		if wide := pageValue[int](t, ctx, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
			t.Errorf("%s: the page is %d pixels wider than the window", name, wide)
		}
		lookAtPage(t, ctx, "page-"+name)
		useGroupsPage(t, ctx, name, page)
		inBrowser(t, ctx, chromedp.Click(`#theme`))
		if got := pageValue[string](t, ctx, `getComputedStyle(document.body).backgroundColor`); got != "rgb(22, 24, 27)" {
			t.Errorf("%s: dark is %s", name, got)
		}
		lookAtPage(t, ctx, "page-"+name+"-dark")
		pageValue[int](t, ctx, `console.log("the end"), 0`)
		for m, err := range messages {
			if err != nil {
				t.Fatal(err)
			}
			if m.Text == "the end" {
				break
			}
			if m.IsException() || m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleWarning {
				t.Errorf("%s: console: %v", name, m)
			}
		}
	}
}

// useGroupsPage tries what the page offers.
func useGroupsPage(t *testing.T, ctx context.Context, name string, page GroupsPage) {
	visible := func() int { return pageValue[int](t, ctx, `groups.filter(g => !g.hidden).length`) }
	set := func(id, v string) {
		pageValue[int](t, ctx, `(() => { const e = byId("`+id+`"); e.value = `+quotedText(v)+`; e.dispatchEvent(new Event("input", {bubbles: true})); return 0; })()`)
	}
	at := pageValue[[]float64](t, ctx, `(() => { const b = document.querySelector("main .thumb").getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()`)
	inBrowser(t, ctx, chromedp.MouseEvent(chromedp.MouseMoved, at[0], at[1]))
	first := page.Nowhere[0]
	if len(page.Groups) > 0 {
		first = page.Groups[0].Images[0]
	}
	if tip := pageValue[string](t, ctx, `tip.hidden ? "" : tip.textContent`); !strings.Contains(tip, first.Source) || !strings.Contains(tip, first.Label) {
		t.Errorf("%s: on hovering: %q", name, tip)
	}
	inBrowser(t, ctx, chromedp.MouseClickXY(at[0], at[1]))
	if text := pageValue[string](t, ctx, `detail.open ? detail.textContent : ""`); !strings.Contains(text, first.Source) || !strings.Contains(text, first.Label) {
		t.Errorf("%s: on clicking: %q", name, text)
	}
	lookAtPage(t, ctx, "page-"+name+"-detail")
	inBrowser(t, ctx, chromedp.Click(`#detail button`))
	if pageValue[bool](t, ctx, `detail.open`) {
		t.Errorf("%s: the image stays open", name)
	}
	if len(page.Groups) < 2 {
		return
	}
	set("find", "#2")
	if n := visible(); n != 1 {
		t.Errorf("%s: %d groups are #2", name, n)
	}
	set("find", page.Groups[1].Images[1].Source)
	if n := visible(); n != 1 || pageValue[int](t, ctx, `document.querySelectorAll("#groups .hit").length`) != 1 {
		t.Errorf("%s: %d groups have %s", name, n, page.Groups[1].Images[1].Source)
	}
	set("find", "nothing has this name")
	if n := visible(); n != 0 {
		t.Errorf("%s: %d groups have what is nowhere", name, n)
	}
	set("find", "")
	set("order", "tight")
	tight := pageValue[[]float64](t, ctx, `[...document.querySelectorAll("#groups > section")].map(g => Number(g.dataset.tight))`)
	slices.Reverse(tight)
	if !slices.IsSorted(tight) {
		t.Errorf("%s: tightest first: %v", name, tight)
	}
	set("order", "size")
	if len(page.Groups[0].Labels) > 0 {
		set("label", page.Groups[0].Labels[1].Label)
		if n := visible(); n != len(page.Groups) || pageValue[int](t, ctx, `document.querySelectorAll(".dim .thumb:not(.hit)").length`) == 0 {
			t.Errorf("%s: %d groups have the label", name, n)
		}
		lookAtPage(t, ctx, "page-"+name+"-label")
		set("label", "")
	}
	// The page scrolls there, so the click may come before the link has its place.
	hash := ""
	for range 20 {
		inBrowser(t, ctx, chromedp.Click(`#group-1 .near a`))
		if hash = pageValue[string](t, ctx, `location.hash`); hash != "" {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if hash != "#group-2" {
		t.Errorf("%s: the nearest group leads to %q", name, hash)
	}
}

func quotedText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
