/** The controls of videos that play together: play, time, speed, sound. */

import { button, element } from "./dom.js";

const SPEEDS = [1, 0.5, 0.25];

/**
 * @param {VideoGroup} group
 * @returns {HTMLElement}
 */
export function playBar(group) {
  const play = button("", "", () => (group.isPlaying ? group.pause() : group.play()), "ltxv-play");
  const time = element("input", {
    type: "range",
    class: "ltxv-time",
    min: 0,
    step: 0.01,
    "aria-label": "Time",
    on: {
      input: () => {
        const to = Number(time.value); // pausing draws the slider where the videos are
        group.pause();
        group.seek(to);
      },
    },
  });
  const clock = element("span", { class: "ltxv-clock" });
  const speed = element(
    "select",
    { class: "ltxv-select", "aria-label": "Speed", title: "Speed", onchange: () => group.setSpeed(Number(speed.value)) },
    ...SPEEDS.map((value) => element("option", { value }, `${value}×`)),
  );
  const sound = button("", "Sound of the first video that has some", () => group.setHeard(!group.isHeard));
  const draw = () => {
    set(play, group.isPlaying ? "Pause" : "Play");
    play.title = `${play.textContent} all videos at the same time`;
    time.max = group.duration;
    time.value = group.time;
    set(clock, `${group.time.toFixed(1)} of ${group.duration.toFixed(1)} s`);
    sound.hidden = !group.hasSound;
    set(sound, group.isHeard ? "Sound off" : "Sound on");
  };
  group.addEventListener("change", draw);
  draw();
  return element("div", { class: "ltxv-row ltxv-play-bar" }, play, time, clock, speed, sound);
}

function set(shown, text) {
  if (shown.textContent !== text) shown.textContent = text;
}
