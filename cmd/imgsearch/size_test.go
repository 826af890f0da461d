package main

import "testing"

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "4000": 4000, "12b": 12, "500MB": 500e6, "2 GiB": 2 << 30, "1.5g": 15e8, " 64KiB ": 64 << 10, "3k": 3000, "1tib": 1 << 40, "2e3": 2000,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "MB", "0.5", "5 bananas", "nan", "inf", "1e30", "4GiBiB"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}
