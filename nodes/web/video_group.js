/** Videos that play at the same time: one clock for all of them. */

const TOLERANCE_SECONDS = 0.12;
const END_SECONDS = 0.001;
const PATIENCE_MS = 1000;
const MOVED = ["loadeddata", "seeked"];

/** Tells "change" when it starts, stops, moves, or knows a longer video. */
export class VideoGroup extends EventTarget {
  constructor() {
    super();
    this.time = 0;
    this.isPlaying = false;
    this.speed = 1;
    /** Whether the first video with sound is heard. */
    this.isHeard = false;
  }

  /** Of the longest video, in seconds; 0 until one is loaded. */
  get duration() {
    return Math.max(0, ...[...this.#videos].map(durationOf));
  }

  get hasSound() {
    return [...this.#videos].some(hasSound);
  }

  /** Lets videos play with this group alone: those that played with it before stop. */
  take(videos) {
    for (const video of this.#videos) if (!videos.includes(video)) this.remove(video);
    for (const video of videos) this.add(video);
  }

  add(video) {
    if (this.#videos.has(video)) return;
    this.#videos.add(video);
    for (const event of MOVED) video.addEventListener(event, this.#moved);
    this.#place(video, true);
    this.#notify();
  }

  remove(video) {
    this.#videos.delete(video);
    for (const event of MOVED) video.removeEventListener(event, this.#moved);
    video.pause();
  }

  play() {
    if (this.isPlaying) return;
    this.isPlaying = true;
    this.#last = performance.now();
    this.#frame = requestAnimationFrame((now) => this.#tick(now));
    this.#notify();
  }

  pause() {
    this.isPlaying = false;
    cancelAnimationFrame(this.#frame);
    for (const video of this.#videos) this.#place(video, true);
    this.#notify();
  }

  /** Moves all videos to a time in seconds. */
  seek(time) {
    this.time = Math.max(0, Math.min(this.duration, time));
    for (const video of this.#videos) this.#place(video, true);
    this.#notify();
  }

  setSpeed(speed) {
    this.speed = speed;
    for (const video of this.#videos) video.playbackRate = speed;
  }

  setHeard(isHeard) {
    this.isHeard = isHeard;
    this.#hear();
    this.#notify();
  }

  /** Stops for good. */
  close() {
    this.pause();
    this.take([]);
  }

  #videos = new Set();
  #last = 0;
  #waitsSince = 0;
  #frame = 0;
  /** While a video moves to a place it can't be sent to another one. */
  #moved = ({ target }) => {
    this.#place(target, !this.isPlaying);
    this.#notify();
  };

  #tick(now) {
    if (!this.isPlaying) return;
    this.#frame = requestAnimationFrame((next) => this.#tick(next));
    const { duration } = this;
    if (!duration || this.#isWaiting(now)) {
      for (const video of this.#videos) video.pause();
      this.#last = now;
      return;
    }
    this.time += (this.speed * (now - this.#last)) / 1000;
    this.#last = now;
    const isOver = this.time >= duration;
    if (isOver) this.time = 0;
    for (const video of this.#videos) this.#place(video, isOver);
    this.#notify();
  }

  /** Whether a video is still on its way to the group's time: the others wait, but not for ever. */
  #isWaiting(now) {
    const isSeeking = [...this.#videos].some((video) => video.seeking && !video.error);
    if (!isSeeking) this.#waitsSince = now;
    return isSeeking && now - this.#waitsSince < PATIENCE_MS;
  }

  /** Brings a video to the group's time; one that is shorter than the others waits at its end. */
  #place(video, isExact) {
    const duration = durationOf(video);
    if (!duration) return;
    const wanted = Math.min(this.time, duration - END_SECONDS);
    const isAway = Math.abs(video.currentTime - wanted) > (isExact ? END_SECONDS : TOLERANCE_SECONDS);
    if (isAway && !video.seeking) video.currentTime = wanted;
    const isDue = this.isPlaying && this.time < duration;
    if (isDue && video.paused) {
      video.playbackRate = this.speed;
      video.play().catch(() => {});
    } else if (!isDue && !video.paused) video.pause();
  }

  #hear() {
    const heard = this.isHeard ? [...this.#videos].find(hasSound) : null;
    for (const video of this.#videos) video.muted = video !== heard;
  }

  #notify() {
    this.dispatchEvent(new Event("change"));
  }
}

function durationOf(video) {
  return Number.isFinite(video.duration) ? video.duration : 0;
}

/** What browsers tell of it; Chromium only once sound was decoded. */
function hasSound(video) {
  return Boolean(video.mozHasAudio || video.audioTracks?.length || video.webkitAudioDecodedByteCount);
}
