package kernel

// BlockChannels is the number of channels that lie next to each other in blocked activations and weights.
const BlockChannels = 16

// Blocks returns how many blocks hold so many channels; the last one may be filled in part.
func Blocks(channels int) int { return (channels + BlockChannels - 1) / BlockChannels }

// Block lays out plain, [n, channels, pixels], in blocks of channels: blocked is [n, Blocks(channels), pixels,
// BlockChannels], with zeros where the last block has no channel.
func Block(n, channels, pixels int, plain, blocked []float32) {
	blocks := Blocks(channels)
	checkLen("Block", "plain", len(plain), n*channels*pixels)
	checkLen("Block", "blocked", len(blocked), n*blocks*pixels*BlockChannels)
	for i := range n {
		for b := range blocks {
			out := blocked[(i*blocks+b)*pixels*BlockChannels:][:pixels*BlockChannels]
			count := min(BlockChannels, channels-b*BlockChannels)
			if count < BlockChannels {
				clear(out)
			}
			for c := range count {
				in := plain[(i*channels+b*BlockChannels+c)*pixels:][:pixels]
				for p, v := range in {
					out[p*BlockChannels+c] = v
				}
			}
		}
	}
}

// Unblock undoes [Block].
func Unblock(n, channels, pixels int, blocked, plain []float32) {
	blocks := Blocks(channels)
	checkLen("Unblock", "plain", len(plain), n*channels*pixels)
	checkLen("Unblock", "blocked", len(blocked), n*blocks*pixels*BlockChannels)
	for i := range n {
		for c := range channels {
			in := blocked[(i*blocks+c/BlockChannels)*pixels*BlockChannels:][:pixels*BlockChannels]
			out := plain[(i*channels+c)*pixels:][:pixels]
			for p := range out {
				out[p] = in[p*BlockChannels+c%BlockChannels]
			}
		}
	}
}
