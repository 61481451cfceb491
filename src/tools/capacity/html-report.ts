/** The plan as a page: first what to buy, then the measurements behind it. */

import type { Html } from '../report/html.js';
import {
  figures,
  htmlDocument,
  note,
  pairs,
  table,
  type Figure,
  type Section,
} from '../report/page.js';
import { plot } from '../report/plot.js';
import { decimal, duration, percent, rough, significant, size } from '../report/words.js';
import { latencyMs, loadOf, writeUs, type Load } from './cost-model.js';
import { workingBytes } from './fit.js';
import { valueAt } from './least-squares.js';
import { BUSY_SHARE } from './plan.js';
import { limitRowsOf, planRows, sureness, verdictOf, type CapacityReport } from './report.js';

/** Points of a curve. */
const CURVE_POINTS = 120;

/** The page as text. */
export function htmlReport(report: CapacityReport): string {
  const { plan, machine, measuredAt, transport } = report;
  const { request } = plan;
  const isUnmet =
    plan.p99Ms.value > request.p99Ms || request.eventsPerSecond > plan.ceilingPerSecond.value;
  return htmlDocument({
    title: 'Capacity plan',
    subtitle:
      `${decimal(request.subscribers)} subscribers, ${decimal(request.eventsPerSecond)} ` +
      `events/s of ${size(request.eventBytes)}, ` +
      `p99 within ${duration(request.p99Ms)}, ${TRANSPORTS[transport]}`,
    verdict: { text: verdictOf(report), tone: isUnmet ? 'warning' : 'good' },
    sections: [
      { title: 'Plan', blocks: [figures(figuresOf(report)), planTable(report)] },
      limitSection(report),
      { title: 'Please note', blocks: report.remarks.map((remark) => note(remark)) },
      loadSection(report),
      memorySection(report),
      costSection(report),
      windowSection(report),
    ],
    footer: `Measured ${measuredAt.slice(0, 10)} on ${machine}.`,
  });
}

const TRANSPORTS = { sse: 'event streams', ndjson: 'NDJSON streams', ws: 'WebSockets' } as const;

function figuresOf({ plan }: CapacityReport): Figure[] {
  const { request } = plan;
  return [
    {
      label: 'Processes',
      value: decimal(plan.processes),
      detail: `${decimal(plan.lines)} lines each`,
    },
    { label: 'Machines', value: decimal(plan.machines), detail: `first limit: ${plan.bound}` },
    {
      label: 'Memory of a process',
      value: size(plan.userBytes.value),
      detail: sureness(plan.userBytes),
    },
    {
      label: 'Memory of the kernel',
      value: size(plan.kernelBytes.value),
      detail: sureness(plan.kernelBytes),
    },
    {
      label: 'CPU of a process',
      value: percent(plan.cpuShare.value),
      detail: sureness(plan.cpuShare),
      tone: plan.load.busyShare > BUSY_SHARE ? 'warning' : 'plain',
    },
    {
      label: 'Latency, p99',
      value: duration(plan.p99Ms.value),
      detail: sureness(plan.p99Ms),
      tone: plan.p99Ms.value > request.p99Ms ? 'warning' : 'plain',
    },
    {
      label: 'Bandwidth of a process',
      value: `${size(plan.egressBytesPerSecond.value)}/s`,
      detail: sureness(plan.egressBytesPerSecond),
    },
  ];
}

function planTable(report: CapacityReport): Html {
  return table({ columns: ['', { right: 'value' }, 'margin'], rows: planRows(report) });
}

function limitSection(report: CapacityReport): Section {
  const columns = ['limit', { right: 'lines' }, 'value', 'raised by'];
  return {
    title: 'Limits',
    intro: 'How many lines each limit allows, lowest first.',
    blocks: [
      table({ columns, rows: limitRowsOf(report, true) }),
      table({
        caption: 'Limits for special cases, as their names state',
        columns,
        rows: limitRowsOf(report, false),
      }),
    ],
  };
}

/** How one process of the plan behaves as the rate rises. */
function loadSection({ plan, fit }: CapacityReport): Section {
  const { request, lines } = plan;
  const ceiling = plan.ceilingPerSecond.value;
  const lowest = Math.min(0.1, request.eventsPerSecond);
  const rates = Array.from(
    { length: CURVE_POINTS },
    (_, nth) => lowest * (ceiling / lowest) ** (nth / (CURVE_POINTS - 1)),
  );
  const loads = rates.map((eventsPerSecond): Load =>
    loadOf(fit.costs, { lines, eventsPerSecond, eventBytes: request.eventBytes }),
  );
  const marks = [
    { x: plan.kneePerSecond.value, label: 'latency rises' },
    ...(request.eventsPerSecond < ceiling ? [{ x: request.eventsPerSecond, label: 'plan' }] : []),
  ];
  const x = { label: 'events/s', quantity: 'per second', spread: 'log' } as const;
  return {
    title: 'At higher rates',
    intro:
      `One process with ${decimal(lines)} lines and events of ` +
      `${size(request.eventBytes)}, by the model, up to its highest rate of ${rough(ceiling)} ` +
      'events/s. Once the core is busy, events share writes.',
    blocks: [
      plot({
        title: 'CPU',
        x,
        y: { label: 'of a core', quantity: 'share' },
        xs: rates,
        series: [{ label: 'CPU', values: loads.map(({ busyShare }) => busyShare), mark: 'area' }],
        marks,
        together: 'rate',
      }),
      plot({
        title: 'Latency',
        x,
        y: { label: 'latency', quantity: 'ms', spread: 'log' },
        xs: rates,
        series: [
          { label: 'p50', values: loads.map(({ sweepMs }) => latencyMs(fit.p50, sweepMs)) },
          { label: 'p99', values: loads.map(({ sweepMs }) => latencyMs(fit.p99, sweepMs)) },
        ],
        marks,
        together: 'rate',
      }),
    ],
  };
}

function memorySection({ memory, fit }: CapacityReport): Section {
  const xs = memory.map(({ lines }) => lines);
  return {
    title: 'Memory of lines',
    intro:
      'Lines without events. Both ends of each line were on this machine, so the kernel’s ' +
      'memory is half of what was measured.',
    blocks: [
      plot({
        title: 'The process',
        x: { label: 'lines', quantity: 'count' },
        y: { label: 'resident', quantity: 'bytes' },
        xs,
        series: [
          { label: 'measured', values: memory.map(({ rssBytes }) => rssBytes), mark: 'points' },
          {
            label: `${decimal(fit.user.slope, 0)} B a line`,
            values: xs.map((lines) => valueAt(fit.user, lines)),
            mark: 'dashed',
          },
        ],
      }),
      plot({
        title: 'The kernel',
        x: { label: 'lines', quantity: 'count' },
        y: { label: 'buffers and slabs', quantity: 'bytes' },
        xs,
        series: [
          {
            label: 'measured',
            values: memory.map(({ kernelBytes }) => kernelBytes / 2 - fit.kernel.intercept),
            mark: 'points',
          },
          {
            label: `${decimal(fit.kernel.slope, 0)} B a line`,
            values: xs.map((lines) => valueAt(fit.kernel, lines) - fit.kernel.intercept),
            mark: 'dashed',
          },
        ],
      }),
    ],
  };
}

function costSection({ fit, plan }: CapacityReport): Section {
  const { costs } = fit;
  const us = (value: number): string => `${significant(value)} µs`;
  return {
    title: 'Costs',
    intro:
      'Processor time of the server, with the kernel’s part of sending, fitted to the runs below.',
    blocks: [
      pairs([
        ['a write to one line, core idle', us(writeUs(costs, plan.lines, 0))],
        ['a write to one line, core busy', us(writeUs(costs, plan.lines, 1))],
        ['a KiB written', us(costs.byteUs * 1024)],
        ['an event, core idle', us(costs.idleEventUs)],
        ['an event, core busy', us(costs.busyEventUs)],
        ['a heartbeat', us(costs.heartbeatUs)],
        ['a new line', us(fit.acceptUs)],
        ['new lines a second', decimal(fit.acceptsPerSecond, 0)],
        ['an idle server', `${percent(costs.idleShare)} of a core`],
        ['bytes of an event besides its data', decimal(costs.frameBytes, 0)],
        [
          'additional memory at this rate',
          size(workingBytes(fit.working, plan.request.eventsPerSecond, plan.request.eventBytes)),
        ],
        ['error of CPU', percent(fit.cpuError, 0)],
      ]),
    ],
  };
}

function windowSection({ windows }: CapacityReport): Section {
  const rows = windows.map((window) => [
    decimal(window.lines),
    size(window.eventBytes),
    decimal(window.offeredPerSecond, 1),
    decimal(window.acceptedPerSecond, 1),
    rough(window.deliveriesPerSecond),
    window.writesPerSecond === 0
      ? '–'
      : decimal(window.deliveriesPerSecond / window.writesPerSecond, 1),
    percent(window.serverShare),
    percent(window.modelShare),
    window.p50Ms === null ? '–' : duration(window.p50Ms),
    window.p99Ms === null ? '–' : duration(window.p99Ms),
    window.isClientLimited
      ? ({ text: percent(window.clientShare), tone: 'warning' } as const)
      : percent(window.clientShare),
    percent(window.strangerShare),
  ]);
  const right = (name: string): { readonly right: string } => ({ right: name });
  return {
    title: 'Measurements',
    blocks: [
      table({
        columns: [
          'lines',
          right('event'),
          right('offered/s'),
          right('accepted/s'),
          right('deliveries/s'),
          right('events in a write'),
          right('CPU'),
          right('by the model'),
          right('p50'),
          right('p99'),
          right('clients'),
          right('other processes'),
        ],
        rows,
      }),
    ],
  };
}
