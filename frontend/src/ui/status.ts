/** One word, one icon and one colour per status: the same on every page. */

import {
  IconAlertTriangle,
  IconArrowBackUp,
  IconCheck,
  IconCircleDashed,
  IconClock,
  IconClockX,
  IconHandStop,
  IconLoader2,
  IconPlayerPause,
  IconPlayerPlayFilled,
  IconPlayerStop,
  IconPlugConnectedX,
  IconX,
} from "@tabler/icons-react";

type Face = { icon: typeof IconX; colour: string; word: string; moving?: boolean };

const colour = (name: string) => `var(--status-${name})`;

const FACES: { [status: string]: Face } = {
  held: { icon: IconHandStop, colour: colour("suspended"), word: "held" },
  queued: { icon: IconClock, colour: colour("queued"), word: "queued" },
  placed: { icon: IconLoader2, colour: colour("running"), word: "placed" },
  active: { icon: IconLoader2, colour: colour("running"), word: "active" },
  starting: { icon: IconLoader2, colour: colour("running"), word: "starting", moving: true },
  running: { icon: IconPlayerPlayFilled, colour: colour("running"), word: "running" },
  checkpointing: { icon: IconLoader2, colour: colour("running"), word: "checkpointing", moving: true },
  stopping: { icon: IconPlayerStop, colour: colour("cancelled"), word: "stopping", moving: true },
  cancelling: { icon: IconPlayerStop, colour: colour("cancelled"), word: "cancelling", moving: true },
  suspended: { icon: IconPlayerPause, colour: colour("suspended"), word: "suspended" },
  succeeded: { icon: IconCheck, colour: colour("succeeded"), word: "succeeded" },
  failed: { icon: IconX, colour: colour("failed"), word: "failed" },
  cancelled: { icon: IconCircleDashed, colour: colour("cancelled"), word: "cancelled" },
  timed_out: { icon: IconClockX, colour: colour("failed"), word: "timed out" },
  unreachable: { icon: IconPlugConnectedX, colour: colour("preempted"), word: "unreachable" },
  // Outcomes of an attempt.
  exit: { icon: IconX, colour: colour("failed"), word: "failed" },
  oom: { icon: IconX, colour: colour("failed"), word: "out of memory" },
  preempted: { icon: IconArrowBackUp, colour: colour("preempted"), word: "preempted" },
  idle_suspended: { icon: IconPlayerPause, colour: colour("suspended"), word: "suspended for idling" },
  moved: { icon: IconArrowBackUp, colour: colour("preempted"), word: "moved" },
  resized: { icon: IconArrowBackUp, colour: colour("preempted"), word: "resized" },
  node_lost: { icon: IconPlugConnectedX, colour: colour("preempted"), word: "node lost" },
  start_failed: { icon: IconX, colour: colour("failed"), word: "did not start" },
  no_image: { icon: IconX, colour: colour("failed"), word: "no image" },
  platform_stopped: { icon: IconArrowBackUp, colour: colour("preempted"), word: "platform stopped" },
  ended: { icon: IconCheck, colour: colour("cancelled"), word: "ended" },
  // Nodes.
  ready: { icon: IconCheck, colour: colour("succeeded"), word: "ready" },
  cordoned: { icon: IconPlayerPause, colour: colour("suspended"), word: "cordoned" },
  draining: { icon: IconArrowBackUp, colour: colour("preempted"), word: "draining" },
  drained: { icon: IconPlayerPause, colour: colour("preempted"), word: "drained" },
  offline: { icon: IconPlugConnectedX, colour: colour("failed"), word: "offline" },
  // Switches.
  on: { icon: IconCheck, colour: colour("succeeded"), word: "on" },
  off: { icon: IconCircleDashed, colour: colour("cancelled"), word: "off" },
  dead: { icon: IconX, colour: colour("failed"), word: "dead" },
};

/** The face of `status`; a word this page does not know yet is shown as it is. */
export function faceOf(status: string): Face {
  return (
    FACES[status] ?? {
      icon: IconAlertTriangle,
      colour: colour("cancelled"),
      word: status.replaceAll("_", " "),
    }
  );
}
