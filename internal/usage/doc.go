// Package usage tells what the operating system counts of processes: processor time and memory.
package usage
