// What the page and its worker say to each other.

import type { Decision } from "./results";

/** What is written into the page about its model; the writer in Python fills it. */
export interface About {
  /** SHA-256 of the model. */
  artifact: string;
  contract: {
    precision: string;
    threshold: number;
    threshold_origin: string;
    source_name: string;
    source_digest: string;
    toolkit_version: string;
    labels: [Decision, Decision];
    notice: string;
  };
  selftest: {
    tolerance: number;
    probabilities: number[];
    /** PNG files, base64. */
    images: string[];
  };
  /** The judging report's first figures. */
  figures: { name: string; value: string; interval: string }[];
}

export interface Start {
  kind: "start";
  about: About;
  model: Uint8Array<ArrayBuffer>;
  /** Gzipped. */
  ort: Uint8Array<ArrayBuffer>;
  jpeg: Uint8Array<ArrayBuffer>;
}

export interface Ask {
  kind: "ask";
  id: number;
  file: File;
}

export interface Started {
  kind: "started";
  passed: boolean;
  message: string;
}

export interface Answer {
  kind: "answer";
  id: number;
  sha256: string;
  probability: number | null;
  decision: Decision | null;
  time_ms: number;
  warnings: string;
  error: string;
  /** 64x64, 0 black: what the model saw; null where there is no radiograph. */
  pixels: Uint8Array | null;
}

/** The runtime failed: nothing more can be answered. */
export interface Broken {
  kind: "broken";
  message: string;
}
