package kernel

import "golang.org/x/sys/cpu"

// available tells which of pathNames this processor runs.
var available = [len(pathNames)]bool{
	vector512: cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL &&
		cpu.X86.HasAVX2 && cpu.X86.HasFMA,
	vector256:  cpu.X86.HasAVX2 && cpu.X86.HasFMA,
	vectorNone: true,
}
