//go:build !amd64

package kernel

func peakLoop() int { return peakGo() }
