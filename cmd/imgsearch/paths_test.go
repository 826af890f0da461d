package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWord(t *testing.T) {
	for name, want := range map[string]string{
		"photos/2024": "photos/2024", "sample:train": "sample:train", `C:\x`: `'C:\x'`,
		"my photos": "'my photos'", "it's": `'it'\''s'`, "$HOME": "'$HOME'", "": "''",
	} {
		if got := word(name); got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
}

func TestCheckOutput(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path  string
		force bool
		want  string // part of the error; "" for none
	}{
		{"", false, ""},
		{filepath.Join(dir, "new"), false, ""},
		{filepath.Join(dir, "new"), true, ""},
		{file, true, ""},
		{file, false, "exists already: name another file, or add --force to replace it"},
		{dir, true, "is a folder: name a file"},
		{filepath.Join(dir, "no", "new"), true, "make the folder " + filepath.Join(dir, "no") + " first"},
		{filepath.Join(file, "new"), true, "cannot be made"},
		{os.DevNull, true, "is no regular file"},
	} {
		err := checkOutput(test.path, test.force)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s, force %v: %v, want %q", test.path, test.force, err, test.want)
		}
	}
	if !sameFile(file, filepath.Join(dir, ".", "file")) || sameFile(file, filepath.Join(dir, "new")) || sameFile(file, dir) {
		t.Error("sameFile")
	}
}
