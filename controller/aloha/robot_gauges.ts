/**
 * A robot's numbers for `/metrics`.
 *
 * @module
 */

import { ARM_NAMES } from "../../common/robot/aloha.ts";
import type { SourceGauge } from "../chunk_source.ts";
import { COUNTERS } from "../dynamixel/thread/bus_memory.ts";
import { ROBOT_STATES } from "../safety/state_machine.ts";
import type { AlohaRobot } from "./aloha_robot.ts";

/** Counters of a bus that are shown; the histogram of jitter is in `/status` and the benchmarks. */
const BUS_COUNTERS = [
  "cycles",
  "missed",
  "incomplete",
  "retries",
  "reconnects",
] as const satisfies readonly (keyof typeof COUNTERS)[];

/**
 * Gauges of a robot.
 *
 * @param robot The robot.
 * @returns State, clamps by joint and kind, buses, servos' temperatures and troubles.
 */
export function robotGauges(robot: AlohaRobot): SourceGauge[] {
  const { arms, supervisor, stop } = robot;
  return [
    {
      name: "state",
      help: "1 for the state that the robot is in",
      labels: ["state"],
      read: () =>
        ROBOT_STATES.map((state) => ({
          labels: { state },
          value: Number(supervisor.status.state === state),
        })),
    },
    {
      name: "emergency_stop",
      help: "1 while an emergency stop is in force",
      labels: [],
      read: () => [{ labels: {}, value: Number(stop.isActive) }],
    },
    {
      name: "commands",
      help: "Commands that passed the safety filter",
      labels: [],
      read: () => [{ labels: {}, value: arms.motion.clamps().commands }],
    },
    {
      name: "clamps",
      help: "Commands that the safety filter changed, by joint and kind",
      labels: ["joint", "kind"],
      read: () =>
        Object.entries(arms.motion.clamps().byJoint).flatMap(([joint, kinds]) =>
          Object.entries(kinds).map(([kind, value]) => ({ labels: { joint, kind }, value }))
        ),
    },
    {
      name: "bus",
      help: "What the buses have counted",
      labels: ["arm", "counter"],
      read: () =>
        ARM_NAMES.flatMap((arm) => {
          const counters = arms.buses[arm].counters();
          return BUS_COUNTERS.map((counter) => ({
            labels: { arm, counter },
            value: counters[counter],
          }));
        }),
    },
    {
      name: "servo_temperature_celsius",
      help: "Temperature of each servo",
      labels: ["arm", "servo"],
      read: () =>
        ARM_NAMES.flatMap((arm) =>
          (arms.buses[arm].readHealth()?.servos ?? [])
            .filter(({ temperatureC }) => Number.isFinite(temperatureC))
            .map(({ id, temperatureC }) => ({
              labels: { arm, servo: `${id}` },
              value: temperatureC,
            }))
        ),
    },
    {
      name: "troubles",
      help: "Faults, lost links, emergency stops and recoveries",
      labels: ["kind"],
      read: () =>
        Object.entries(supervisor.counts).map(([kind, value]) => ({ labels: { kind }, value })),
    },
  ];
}
