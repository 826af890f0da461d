package embedder

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestDescribe(t *testing.T) {
	e := someEncoder(t)
	d := e.Describe()
	if d.FormatVersion != 1 || d.FileBytes != int64(len(e.Bytes())) || d.Fingerprint != e.Fingerprint() || d.InputSize != 12 || d.Dim != 5 || !d.Normalized {
		t.Errorf("%+v", d)
	}
	if d.Parameters != e.Architecture().ParameterCount() || d.FLOPs != e.Architecture().FLOPs() || d.Metadata != someMetadata {
		t.Errorf("%+v", d)
	}
	var table strings.Builder
	for _, l := range d.Layers {
		fmt.Fprintf(&table, "%s|%d|%s|%s|%v|%d|%d\n", l.Name, l.Depth, l.Kind, l.Detail, l.Output, l.Parameters, l.FLOPs)
	}
	want := `layers.0|0|batchnorm||[3 12 12]|12|0
layers.1|0|conv|3x3, pad 1, no bias|[8 12 12]|216|62208
layers.2|0|batchnorm||[8 12 12]|32|0
layers.3|0|relu||[8 12 12]|0|0
layers.4|0|maxpool|2x2, stride 2|[8 6 6]|0|0
layers.5.body.0|1|relu||[8 6 6]|0|0
layers.5.body.1|1|conv|3x3, pad 2, dilation 2|[8 6 6]|584|41472
layers.5.body.2|1|batchnorm|frozen|[8 6 6]|32|0
layers.5.body.3.body.0|2|conv|1x1, no bias|[8 6 6]|64|4608
layers.5.body.3|1|residual||[8 6 6]|0|0
layers.5|0|residual||[8 6 6]|0|0
layers.6|0|relu||[8 6 6]|0|0
layers.7|0|conv|3x3, stride 2, pad 1|[12 3 3]|876|15552
layers.8|0|globalmean||[12]|0|0
layers.9|0|linear|no bias|[10]|120|240
layers.10|0|batchnorm||[10]|40|0
layers.11|0|relu||[10]|0|0
layers.12|0|linear||[5]|55|100
layers.13|0|l2norm||[5]|0|0
`
	if table.String() != want {
		t.Errorf("got\n%s\nwant\n%s", table.String(), want)
	}
	data, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"format_version":1`, `"dataset_fingerprint":"ab12"`, `"output":[3,12,12]`, `"final_loss":0.1234567890123`} {
		if !strings.Contains(string(data), part) {
			t.Errorf("%s is not in %s", part, data)
		}
	}
}
