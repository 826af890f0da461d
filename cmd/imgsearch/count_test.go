package main

import (
	"testing"
	"time"
)

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{
		0: "0", 7: "7", 999: "999", 1000: "1,000", 12345: "12,345", 999999: "999,999", 1234567: "1,234,567",
		-1: "-1", -999: "-999", -1000: "-1,000", -1234567: "-1,234,567",
	} {
		if got := thousands(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	for _, test := range []struct {
		n          int
		noun, want string
	}{
		{0, "image", "0 images"}, {1, "image", "1 image"}, {2, "image", "2 images"}, {60000, "image", "60,000 images"},
		{1, "query", "1 query"}, {2, "query", "2 queries"}, {1, "byte", "1 byte"},
	} {
		if got := count(test.n, test.noun); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
	if was(1) != "was" || was(0) != "were" || was(2) != "were" || isAre(1) != "is" || isAre(2) != "are" {
		t.Error("was or isAre")
	}
}

func TestFileSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 1: "1 byte", 999: "999 bytes", 1000: "1 kB", 347_272: "347 kB", 9_200_000: "9.2 MB", 1_840_000_000: "1.84 GB",
	} {
		if got := fileSize(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.0 s", 440 * time.Millisecond: "0.4 s", 9400 * time.Millisecond: "9.4 s", 12 * time.Second: "12 s",
		59600 * time.Millisecond: "1 min 0 s", 200 * time.Second: "3 min 20 s", 2*time.Hour + 5*time.Minute: "2 h 5 min",
	} {
		if got := duration(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}
