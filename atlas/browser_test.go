package atlas_test

import (
	"context"
	"flag"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"imgsearch/atlas"
	"imgsearch/dataset"
	"imgsearch/index"
)

var screenshots = flag.String("screenshots", "", "keep the browser test's screenshots in this folder")

// browser is a page in a headless Chromium. Console errors, exceptions and requests to anywhere fail the test.
type browser struct {
	t   *testing.T
	ctx context.Context
}

// findChromium returns the browser's program, or skips the test.
func findChromium(t *testing.T) string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless-shell"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no Chromium is installed: the page is not opened")
	return ""
}

// startBrowser starts a Chromium; without WebGL where plain is set.
func startBrowser(t *testing.T, plain bool) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(findChromium(t)), chromedp.NoSandbox,
		chromedp.WindowSize(1280, 860), chromedp.WSURLReadTimeout(3*time.Minute))
	if plain {
		options = append(options, chromedp.Flag("disable-3d-apis", true))
	} else {
		options = append(options, chromedp.Flag("disable-gpu", false), chromedp.Flag("enable-unsafe-swiftshader", true))
	}
	ctx, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	ctx, stop = context.WithTimeout(ctx, 9*time.Minute)
	t.Cleanup(stop)
	b := &browser{t, ctx}
	fail := func(what string) { t.Errorf("the page: %s", what) }
	err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			what := e.ExceptionDetails.Text
			if x := e.ExceptionDetails.Exception; x != nil {
				what += ": " + x.Description
			}
			fail(what)
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeAssert {
				fail(fmt.Sprint("console: ", e.Args))
			}
		case *cdplog.EventEntryAdded:
			if e.Entry.Level == cdplog.EntryLevelError {
				fail("log: " + e.Entry.Text)
			}
		case *network.EventRequestWillBeSent:
			if !strings.HasPrefix(e.Request.URL, "file:") && !strings.HasPrefix(e.Request.URL, "data:") {
				fail("asks for " + e.Request.URL)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// ask runs an action that has a result.
func ask[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return value
}

// open writes a page and opens it.
func (b *browser) open(page atlas.MapPage) {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), "map.html")
	f, err := os.Create(path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	if err := atlas.WriteMapPage(b.ctx, f, page); err != nil {
		b.t.Fatal(err)
	}
	b.do(chromedp.Navigate("file://" + path))
	ask(b, chromedp.Poll[bool]("window.imgsearchMap !== undefined", chromedp.WithPollingTimeout(5*time.Minute)))
}

func evaluate[T any](b *browser, script string) T {
	b.t.Helper()
	return ask(b, chromedp.Evaluate[T](script))
}

// run executes statements in the page.
func (b *browser) run(script string) {
	b.t.Helper()
	evaluate[bool](b, "(() => { "+script+"; return true })()")
}

type pageState struct {
	Hovered int     `json:"hovered"`
	Chosen  int     `json:"chosen"`
	Images  int     `json:"images"`
	Shown   int     `json:"shown"`
	Matches int     `json:"matches"`
	Scale   float64 `json:"scale"`
	WebGL   bool    `json:"webgl"`
}

// state waits until the page has drawn.
func (b *browser) state() pageState {
	b.t.Helper()
	return ask(b, chromedp.Evaluate[pageState]("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(imgsearchMap.state()))))", chromedp.EvalAwaitPromise))
}

// where returns a point's place in the window.
func (b *browser) where(i int) (x, y float64) {
	b.t.Helper()
	at := evaluate[[]float64](b, fmt.Sprintf("(() => { const r = document.getElementById('view').getBoundingClientRect(), p = imgsearchMap.where(%d); return [p[0]+r.left, p[1]+r.top] })()", i))
	return at[0], at[1]
}

func (b *browser) move(x, y float64) {
	b.t.Helper()
	b.do(chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, x, y))
}

// wheel zooms in.
func (b *browser) wheel(x, y float64) {
	b.t.Helper()
	b.do(chromedp.MouseEvent(input.DispatchMouseEventTypeMouseWheel, x, y, func(p *input.DispatchMouseEventParams) { p.DeltaX, p.DeltaY = 1, -1500 }))
}

func (b *browser) text(selector string) string {
	b.t.Helper()
	return evaluate[string](b, fmt.Sprintf("(e => e.hidden ? '' : e.innerText)(document.querySelector(%q))", selector))
}

// shoot keeps a screenshot where they are wanted.
func (b *browser) shoot(name string) {
	b.t.Helper()
	if *screenshots == "" {
		return
	}
	b.state()
	if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), ask(b, chromedp.CaptureScreenshot()), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) dark(yes bool) {
	b.t.Helper()
	value := "light"
	if yes {
		value = "dark"
	}
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}}})
	if err != nil {
		b.t.Fatal(err)
	}
}

// pageOf makes a page of n points around a place for each label, with pictures of the label's colour.
func pageOf(n int, labels ...string) atlas.MapPage {
	rng := rand.New(rand.NewPCG(51, 1))
	page := atlas.MapPage{Title: "Holiday photos", Subtitle: fmt.Sprintf("%d images", n)}
	for i := range n {
		l := i % max(len(labels), 7)
		angle := float64(l) * 2.4
		p := atlas.MapPoint{ID: dataset.ID(2*i + 1), Source: fmt.Sprintf("photos/summer/%05d.jpg", i),
			X: float32(9*math.Sqrt(float64(l))*math.Cos(angle) + 3*rng.NormFloat64()), Y: float32(9*math.Sqrt(float64(l))*math.Sin(angle) + 3*rng.NormFloat64())}
		if len(labels) > 0 {
			p.Label = dataset.Label(labels[l%len(labels)])
		}
		page.Points = append(page.Points, p)
	}
	for i := range n {
		var list []index.Neighbor
		for k := 1; k <= min(8, n-1); k++ {
			list = append(list, index.Neighbor{ID: page.Points[(i+k*max(len(labels), 7))%n].ID, Distance: float32(k) / 16})
		}
		page.Neighbors = append(page.Neighbors, list)
	}
	page.Thumbnail = func(i int) (*dataset.Image, error) {
		img := image.NewRGBA(image.Rect(0, 0, 32, 32))
		l := i % max(len(labels), 7)
		for y := range 32 {
			for x := range 32 {
				at := img.PixOffset(x, y)
				img.Pix[at], img.Pix[at+1], img.Pix[at+2], img.Pix[at+3] = uint8(40*l+3*x), uint8(8*y), uint8(i), 255
			}
		}
		return dataset.FromImage(img), nil
	}
	return page
}

var someLabels = []string{"cat", "dog", "ship", "naïve café", "写真", "صور الشاطئ", "a label so long that no list has room for it, however wide the list may be",
	"truck", "frog", "deer", "horse", "bird"}

func TestMapPageInBrowser(t *testing.T) {
	b := startBrowser(t, false)
	b.dark(false)
	b.open(pageOf(3000, someLabels...))
	s := b.state()
	if s.Shown != len(someLabels) || s.Chosen != -1 || s.Images != 0 {
		t.Fatalf("at first: %+v", s)
	}
	t.Logf("WebGL: %t", s.WebGL)
	b.shoot("map-light")

	x, y := b.where(5)
	b.move(x, y)
	if s = b.state(); s.Hovered < 0 {
		t.Fatalf("nothing is under the pointer at point 5: %+v", s)
	}
	tip := b.text("#tip")
	if want := fmt.Sprintf("id %d", 2*s.Hovered+1); !strings.Contains(tip, want) || !strings.Contains(tip, "photos/summer/") || !strings.Contains(tip, someLabels[s.Hovered%len(someLabels)]) {
		t.Errorf("the pointer shows %q, want %q", tip, want)
	}
	if got := evaluate[int](b, "document.querySelectorAll('#tip .strip canvas').length"); got != 8 {
		t.Errorf("%d neighbours under the pointer", got)
	}
	b.shoot("map-hover")
	b.do(chromedp.MouseClickXY(x, y))
	s = b.state()
	if s.Chosen < 0 || !strings.Contains(b.text("#chosen"), fmt.Sprintf("Image %d", 2*s.Chosen+1)) || evaluate[int](b, "document.querySelectorAll('#chosen .near button').length") != 8 {
		t.Errorf("after a click: %+v, %q", s, b.text("#chosen"))
	}
	before := s.Chosen
	b.run("document.querySelector('#chosen .near button').click()")
	if s = b.state(); s.Chosen != (before+len(someLabels))%3000 {
		t.Errorf("a click on the neighbour of %d leads to %d", before, s.Chosen)
	}
	if s.Images == 0 {
		t.Errorf("no images where there is room: %+v", s)
	}
	b.shoot("map-chosen")

	b.run("document.getElementById('home').click(); document.querySelectorAll('#labels .only')[2].click()")
	if s = b.state(); s.Shown != 1 {
		t.Errorf("one label only: %+v", s)
	}
	for i := range 2 * len(someLabels) { // points of other labels are not there
		x, y := b.where(i)
		b.move(x, y)
		if h := b.state().Hovered; h >= 0 && evaluate[string](b, "document.querySelectorAll('#labels .name')[2].textContent") != someLabels[h%len(someLabels)] {
			t.Fatalf("point %d of a hidden label is under the pointer", h)
		}
	}
	b.shoot("map-filtered")
	b.run("document.getElementById('all').click()")

	b.do(chromedp.SendKeys("#query", "summer/0012"))
	if s = b.state(); s.Matches != 10 || !strings.Contains(b.text("#results"), "10 found") {
		t.Errorf("a search: %+v, %q", s, b.text("#results"))
	}
	b.shoot("map-found")
	b.run("document.getElementById('query').value = ''")
	b.do(chromedp.SendKeys("#query", "4001\r"))
	if s = b.state(); s.Matches != 1 || s.Chosen != 2000 {
		t.Errorf("a search for an id: %+v", s)
	}
	b.run("document.getElementById('query').value = ''")
	b.do(chromedp.SendKeys("#query", "no such\r"))
	if s = b.state(); s.Matches != 0 || !strings.Contains(b.text("#results"), "Nothing found") {
		t.Errorf("a search for nothing: %+v", s)
	}
	b.do(chromedp.SendKeys("#query", "\x1b"))

	scale := b.state().Scale
	b.wheel(400, 400)
	if s = b.state(); s.Scale <= scale {
		t.Errorf("the wheel does not zoom: %v, then %v", scale, s.Scale)
	}
	paper := func() string { return evaluate[string](b, "getComputedStyle(document.body).backgroundColor") }
	light := paper()
	b.dark(true)
	if b.state(); paper() == light {
		t.Error("a dark system gets a light page")
	}
	b.shoot("map-dark")
	b.do(chromedp.Click("#theme"))
	if b.state(); paper() != light {
		t.Error("the switch does not make a dark page light")
	}
	b.run("document.getElementById('pictures').click()")
	if s = b.state(); s.Images != 0 {
		t.Errorf("images although they are turned off: %+v", s)
	}
}

// Odd collections make pages without errors.
func TestMapPageOfOddInputInBrowser(t *testing.T) {
	b := startBrowser(t, true)
	thousand := make([]string, 1000)
	for i := range thousand {
		thousand[i] = fmt.Sprintf("label %d", i)
	}
	bare := pageOf(500)
	bare.Thumbnail, bare.Neighbors = nil, nil
	equal := pageOf(50, "a", "b")
	for i := range equal.Points {
		equal.Points[i].X, equal.Points[i].Y = 1, 1
	}
	for _, c := range []struct {
		name string
		page atlas.MapPage
	}{{"one", pageOf(1)}, {"bare", bare}, {"equal", equal}, {"thousand", pageOf(3000, thousand...)}} {
		b.open(c.page)
		x, y := b.where(0)
		b.move(x, y)
		b.do(chromedp.MouseClickXY(x, y))
		if s := b.state(); s.Chosen < 0 || s.WebGL {
			t.Errorf("%s: after a click %+v", c.name, s)
		}
		b.shoot("odd-" + c.name)
	}
	if shown := evaluate[bool](b, "document.getElementById('labelQuery').hidden"); shown {
		t.Error("a thousand labels cannot be searched")
	}
	b.run("document.getElementById('none').click()")
	b.do(chromedp.SendKeys("#labelQuery", "label 99"))
	b.run("document.getElementById('all').click()")
	if s := b.state(); s.Shown != 11 { // 99 and 990 to 999
		t.Errorf("%d labels are shown", s.Shown)
	}
}

// A page of 60,000 points works; how long a frame takes is told, not judged: it depends on the machine.
func TestMapPageOf60000InBrowser(t *testing.T) {
	b := startBrowser(t, false)
	page := pageOf(60000, someLabels...)
	b.open(page)
	s := b.state()
	times := evaluate[[]float64](b, "Array.from({length: 15}, () => imgsearchMap.frame()).sort((a, b) => a - b)")
	t.Logf("WebGL %t: a frame of all points takes %.1f ms, least %.1f ms", s.WebGL, times[len(times)/2], times[0])
	b.shoot("map-60000")
	b.wheel(b.where(0))
	s = b.state()
	times = evaluate[[]float64](b, "Array.from({length: 15}, () => imgsearchMap.frame()).sort((a, b) => a - b)")
	t.Logf("with %d images: %.1f ms, least %.1f ms", s.Images, times[len(times)/2], times[0])
	b.shoot("map-60000-near")
}
