package atlas

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// fallbackNames are files, in order of preference, that hold many letters of scripts beyond Latin, Greek and Cyrillic,
// as systems commonly bring them. Matched without regard to case.
var fallbackNames = []string{
	"notosanscjk-regular.ttc", "notosanscjkjp-regular.otf", "sourcehansans-regular.ttc", "sourcehansans.ttc", // Linux
	"droidsansfallbackfull.ttf", "droidsansfallback.ttf", "wqy-microhei.ttc", "wqy-zenhei.ttc", "unifont.ttf", "unifont.otf",
	"dejavusans.ttf", "notosans-regular.ttf", "notosanshebrew-regular.ttf", "notosansthai-regular.ttf",
	"arial unicode.ttf", "hiragino sans gb.ttc", "applesdgothicneo.ttc", // macOS
	"msyh.ttc", "yugothr.ttc", "malgun.ttf", "segoeui.ttf", "arialuni.ttf", "tahoma.ttf", // Windows
}

// systemFonts returns the files of fallbackNames that this machine has. It looks once.
var systemFonts = sync.OnceValue(func() []string { return findFonts(fontFolders()) })

func fontFolders() []string {
	home, _ := os.UserHomeDir()
	switch runtime.GOOS {
	case "windows":
		return []string{filepath.Join(os.Getenv("WINDIR"), "Fonts"), filepath.Join(os.Getenv("LOCALAPPDATA"), "Microsoft", "Windows", "Fonts")}
	case "darwin":
		return []string{"/System/Library/Fonts", "/Library/Fonts", filepath.Join(home, "Library", "Fonts")}
	default:
		return []string{"/usr/share/fonts", "/usr/local/share/fonts", filepath.Join(home, ".local", "share", "fonts"), filepath.Join(home, ".fonts")}
	}
}

// findFonts walks the folders, as far as they can be read, for files of fallbackNames.
func findFonts(folders []string) []string {
	found := make([]string, len(fallbackNames))
	for _, folder := range folders {
		_ = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return nil // what cannot be read is passed over
			}
			if at := slices.Index(fallbackNames, strings.ToLower(entry.Name())); at >= 0 && found[at] == "" && !entry.IsDir() {
				found[at] = path
			}
			return nil
		})
	}
	return slices.DeleteFunc(found, func(path string) bool { return path == "" })
}
