package usage

import "time"

var start = time.Now()

// SpentTime is ProcessorTime, or the time on the clock since the program began where the system does not tell it.
func SpentTime() time.Duration {
	if t := ProcessorTime(); t > 0 {
		return t
	}
	return time.Since(start)
}
