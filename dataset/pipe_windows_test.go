package dataset

import "testing"

func makePipe(t *testing.T, path string) { t.Helper(); t.Skip("no pipes in folders here") }
