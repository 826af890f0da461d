#!/bin/sh
# Makes the pictures of this folder, with ImageMagick 6, libwebp's tools and exiftool. All show, upright, the same 24x16
# pixels: quarters of red, green, blue and white.
set -eu
cd "$(dirname "$0")"
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
convert -size 12x8 xc:'#e02020' xc:'#20c020' +append "$t/top.png"
convert -size 12x8 xc:'#2040e0' xc:'#ffffff' +append "$t/bottom.png"
convert "$t/top.png" "$t/bottom.png" -append -strip PNG24:"$t/upright.png"

n=1
for turn in '' -flop '-rotate 180' -flip -transpose '-rotate 270' -transverse '-rotate 90'; do
  # shellcheck disable=SC2086 # a turn may be two words
  convert "$t/upright.png" $turn -quality 95 -sampling-factor 1x1 -strip "orientation-$n.jpg"
  exiftool -q -overwrite_original -n -Orientation=$n "orientation-$n.jpg"
  n=$((n + 1))
done
convert "$t/upright.png" -rotate 270 -strip PNG24:orientation-6.png
exiftool -q -overwrite_original -n -Orientation=6 orientation-6.png
convert "$t/upright.png" -rotate 270 -compress LZW -strip orientation-6.tif
exiftool -q -overwrite_original -n -Orientation=6 orientation-6.tif
cwebp -quiet -lossless "orientation-6.png" -o "orientation-6.webp"
exiftool -q -overwrite_original -n -Orientation=6 orientation-6.webp

convert "$t/upright.png" -colorspace CMYK -quality 95 -strip cmyk.jpg
convert "$t/upright.png" -interlace JPEG -quality 95 -sampling-factor 2x2 -strip progressive.jpg
convert "$t/upright.png" -colorspace Gray -quality 95 -strip gray.jpg
convert "$t/upright.png" -depth 16 -strip PNG48:16-bit.png
convert "$t/upright.png" -interlace PNG -strip PNG8:interlaced-palette.png
convert "$t/upright.png" -compress none -colors 16 -strip BMP3:palette.bmp
convert "$t/upright.png" -strip BMP:24-bit.bmp
convert "$t/upright.png" -depth 16 -compress zip -strip 16-bit.tif
cwebp -quiet -q 95 "$t/upright.png" -o lossy.webp
cwebp -quiet -lossless "$t/upright.png" -o lossless.webp
# White is transparent, and the picture below it black.
convert "$t/upright.png" -alpha set -channel RGBA -fuzz 1% -fill 'rgba(0,0,0,0)' -opaque white -strip PNG32:alpha.png
cwebp -quiet -q 95 -alpha_q 100 alpha.png -o alpha.webp
# Animations: the first frame covers the left half only, the rest is transparent; the second frame is black.
convert -size 24x16 -delay 10 \( "$t/upright.png" -crop 12x16+0+0 -repage 24x16+0+0 \) \
  \( -size 24x16 xc:black \) -loop 0 -strip animated.gif
convert "$t/upright.png" -crop 12x8+12+0 +repage -strip PNG24:"$t/quarter.png"
cwebp -quiet -lossless "$t/quarter.png" -o "$t/quarter.webp"
convert -size 24x16 xc:black PNG24:"$t/black.png"
cwebp -quiet -lossless "$t/black.png" -o "$t/black.webp"
webpmux -frame "$t/quarter.webp" +100+12+0+0+b -frame "$t/black.webp" +100+0+0+0-b -loop 0 -bgcolor 0,0,0,0 \
  -o animated.webp 2>/dev/null
