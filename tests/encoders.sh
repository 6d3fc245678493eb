#!/usr/bin/env bash
# Has files of real encoders looked at: tests/encoders.sh
#
# What a person would hear is called sound, and what is cut is not. Takes about a minute.
# Needs flac, ffmpeg, sox, lame, oggenc (vorbis-tools) and opusenc (opus-tools).
set -euo pipefail
cd "$(dirname "$0")/.."
scene=$(mktemp -d)
trap 'rm -rf "$scene"' EXIT

# Noise as well as tones: where each byte may follow each, the last frame of a FLAC holds what looks like headers.
sox -n -r 8000 -c 1 -b 16 "$scene/call.wav" synth 21 pinknoise vol 0.3
sox -n -r 8000 -c 2 -b 16 "$scene/both-ends.wav" synth 14 whitenoise sine 300 vol 0.4
sox -n -r 44100 -c 2 -b 16 "$scene/music.wav" synth 6 whitenoise sine 700 vol 0.4
sox -n -r 48000 -c 2 -b 24 "$scene/deep.wav" synth 3 brownnoise

convert() {
	ffmpeg -v error -y -i "$1" "${@:2}"
}
for source in call both-ends music deep; do
	from=$scene/$source.wav to=$scene/$source
	for level in 0 5 8; do flac -s -f "-$level" -o "$to-$level.flac" "$from" 2>/dev/null; done
	flac -s -c - <"$from" >"$to-piped.flac" 2>/dev/null
	sox "$from" "$to-sox.flac"
	convert "$from" -c:a flac "$to-ffmpeg.flac"
	convert "$from" -f flac - >"$to-ffmpeg-piped.flac"
	convert "$from" -c:a flac -f ogg "$to-flac.oga"
	oggenc -Q -o "$to.ogg" "$from"
	opusenc --quiet "$from" "$to.opus"
	lame --quiet "$from" "$to.mp3"
	lame --quiet -V2 "$from" "$to-variable.mp3"
	lame --quiet -t --cbr -b 64 "$from" "$to-no-header.mp3"
	convert "$from" -c:a aac "$to.m4a"
	convert "$from" -c:a aac -movflags frag_keyframe+empty_moov "$to-fragments.mp4"
	convert "$from" -c:a libopus "$to.webm"
	convert "$from" -c:a libopus -f webm - >"$to-piped.webm"
	convert "$from" -c:a libopus -f matroska -live 1 - >"$to-live.mka"
	convert "$from" "$to.au"
	convert "$from" -f wav - >"$to-piped.wav"
	for codec in pcm_mulaw pcm_alaw gsm_ms adpcm_ima_wav; do
		convert "$from" -ar 8000 -ac 1 -c:a "$codec" "$to-$codec.wav"
	done
	convert "$from" -ar 8000 -ac 1 -f wav -rf64 always "$to-rf64.wav"
done

KORE_ARCHIVER_TEST_ENCODED=$scene cargo test --locked --test it -- --nocapture files_of_real_encoders
