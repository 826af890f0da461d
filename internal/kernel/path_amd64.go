package kernel

import "golang.org/x/sys/cpu"

// paths lists the implementations from the best to the plain one.
var paths = []path{
	{
		name: "avx512",
		available: cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL &&
			cpu.X86.HasAVX2 && cpu.X86.HasFMA,
		use: func() { gemm32 = tiling512.gemm },
	},
	{
		name:      "avx2",
		available: cpu.X86.HasAVX2 && cpu.X86.HasFMA,
		use:       func() { gemm32 = tiling256.gemm },
	},
	{name: "go", available: true, use: func() {}},
}
