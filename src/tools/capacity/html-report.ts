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
import { decimal, duration, percent, rough, sentence, significant, size } from '../report/words.js';
import { blockUsOf } from './compression.js';
import { latencyMs, loadOf, writeUs, type Load } from './cost-model.js';
import { workingBytes, type Fit } from './fit.js';
import { valueAt } from './least-squares.js';
import type { Plan } from './plan.js';
import {
  limitRowsOf,
  limitWords,
  planRows,
  sureness,
  verdictOf,
  type CapacityReport,
} from './report.js';
import { cpuTone, judge, latencyTone } from './verdict.js';

/** Points of a curve. */
const CURVE_POINTS = 120;

/** The page as text. */
export function htmlReport(report: CapacityReport): string {
  const { plan, machine, measuredAt, transport } = report;
  const { request } = plan;
  const { tone, text } = judge(plan);
  return htmlDocument({
    title: 'Capacity plan',
    subtitle:
      `${decimal(request.subscribers)} subscribers, ${decimal(request.eventsPerSecond)} ` +
      `events/s of ${size(request.eventBytes)}, ` +
      `p99 within ${duration(request.p99Ms)}, ${TRANSPORTS[transport]}`,
    verdict: { text: `${verdictOf(report)} ${text}`, tone },
    sections: [
      {
        title: 'Plan',
        intro: 'A line is one open connection of a subscriber.',
        blocks: [figures(figuresOf(report)), planTable(report)],
      },
      limitSection(report),
      { title: 'Notes', blocks: report.remarks.map((remark) => note(sentence(remark))) },
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
  return [
    {
      label: 'Processes',
      value: decimal(plan.processes),
      detail: `${decimal(plan.lines)} lines each`,
    },
    {
      label: 'Machines',
      value: decimal(plan.machines),
      detail: `first limit: ${limitWords(plan.bound)}`,
    },
    {
      label: 'Memory per process',
      value: size(plan.userBytes.value),
      detail: sureness(plan.userBytes),
    },
    {
      label: 'Kernel memory per process',
      value: size(plan.kernelBytes.value),
      detail: sureness(plan.kernelBytes),
    },
    {
      label: 'CPU per process',
      value: percent(plan.cpuShare.value),
      detail: sureness(plan.cpuShare),
      tone: cpuTone(plan),
    },
    {
      label: 'Latency, p99',
      value: duration(plan.p99Ms.value),
      detail: sureness(plan.p99Ms),
      tone: latencyTone(plan),
    },
    {
      label: 'Bandwidth per process',
      value: `${size(plan.egressBytesPerSecond.value)}/s`,
      detail: sureness(plan.egressBytesPerSecond),
    },
  ];
}

function planTable(report: CapacityReport): Html {
  return table({
    columns: ['figure', { right: 'value' }, 'margin or note'],
    rows: planRows(report),
  });
}

function limitSection(report: CapacityReport): Section {
  const columns = ['limit', { right: 'lines' }, 'what it is', 'what raises it'];
  return {
    title: 'Limits',
    intro: 'How many lines each limit allows, lowest first.',
    blocks: [
      table({ columns, rows: limitRowsOf(report, true) }),
      table({
        caption: 'Limits that apply only in the case that their name states',
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
    { x: plan.kneePerSecond.value, label: 'latency starts to rise' },
    ...(request.eventsPerSecond < ceiling
      ? [{ x: request.eventsPerSecond, label: 'this plan' }]
      : []),
  ];
  const x = { label: 'events', quantity: 'per second', spread: 'log' } as const;
  return {
    title: 'At higher rates',
    intro:
      `One process with ${decimal(lines)} lines and events of ${size(request.eventBytes)}, ` +
      `computed from the measured costs up to its highest rate, ${rough(ceiling)} events/s. ` +
      'Where the core has no time left, several events share one write.',
    blocks: [
      plot({
        title: 'CPU',
        x,
        y: { label: 'share of a core', quantity: 'share' },
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
    title: 'Memory by number of lines',
    intro:
      'Measured with idle lines. Server and clients were on one machine, so half of the ' +
      'kernel’s memory is the server’s.',
    blocks: [
      plot({
        title: 'Memory of the process',
        x: { label: 'lines', quantity: 'count' },
        y: { label: 'resident memory', quantity: 'bytes' },
        xs,
        series: [
          { label: 'measured', values: memory.map(({ rssBytes }) => rssBytes), mark: 'points' },
          {
            label: `fit: ${decimal(fit.user.slope, 0)} B per line`,
            values: xs.map((lines) => valueAt(fit.user, lines)),
            mark: 'dashed',
          },
        ],
      }),
      plot({
        title: 'Memory of the kernel',
        x: { label: 'lines', quantity: 'count' },
        y: { label: 'socket buffers and structures', quantity: 'bytes' },
        xs,
        series: [
          {
            label: 'measured',
            values: memory.map(({ kernelBytes }) => kernelBytes / 2 - fit.kernel.intercept),
            mark: 'points',
          },
          {
            label: `fit: ${decimal(fit.kernel.slope, 0)} B per line`,
            values: xs.map((lines) => valueAt(fit.kernel, lines) - fit.kernel.intercept),
            mark: 'dashed',
          },
        ],
      }),
    ],
  };
}

function compressionUs({ costs }: Fit, { eventBytes }: Plan['request']): number {
  return blockUsOf(costs.compression!, costs.frameBytes + eventBytes);
}

function costSection({ fit, plan }: CapacityReport): Section {
  const { costs } = fit;
  const us = (value: number): string => `${significant(value)} µs`;
  return {
    title: 'Costs',
    intro:
      'CPU time of the server, including the kernel’s part of sending, fitted to the measurements below.',
    blocks: [
      pairs([
        ['one write to a line, idle core', us(writeUs(costs, plan.lines, 0))],
        ['one write to a line, busy core', us(writeUs(costs, plan.lines, 1))],
        ['each KiB written', us(costs.byteUs * 1024)],
        ['one event, idle core', us(costs.idleEventUs)],
        ['one event, busy core', us(costs.busyEventUs)],
        ['one heartbeat', us(costs.heartbeatUs)],
        ['opening one line', us(fit.acceptUs)],
        ['lines opened per second', decimal(fit.acceptsPerSecond, 0)],
        ...(costs.compression === undefined
          ? []
          : ([
              ['compressing one event, once for all lines', us(compressionUs(fit, plan.request))],
            ] as const)),
        ['idle server', `${percent(costs.idleShare)} of a core`],
        ['added to the data of each event', `${decimal(costs.frameBytes, 0)} B`],
        [
          'memory for publishing at this rate',
          size(workingBytes(fit.working, plan.request.eventsPerSecond, plan.request.eventBytes)),
        ],
        ['typical error of predicted CPU', percent(fit.cpuError, 0)],
      ]),
    ],
  };
}

function windowSection({ windows }: CapacityReport): Section {
  const rows = windows.map((window) => [
    decimal(window.lines),
    window.eventBytes === 0 ? '–' : size(window.eventBytes),
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
    intro:
      'Each row is one short run. Predicted CPU is what the fitted costs give for it. A marked ' +
      'client CPU means that the clients were at their limit, not the server.',
    blocks: [
      table({
        columns: [
          'lines',
          right('event size'),
          right('events/s offered'),
          right('events/s accepted'),
          right('deliveries/s'),
          right('events per write'),
          right('server CPU'),
          right('predicted CPU'),
          right('p50'),
          right('p99'),
          right('client CPU'),
          right('other CPU'),
        ],
        rows,
      }),
    ],
  };
}
