declare module "@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs" {
  interface FrameInfo {
    width: number;
    height: number;
    componentCount: number;
  }
  interface JPEGDecoder {
    getEncodedBuffer(length: number): Uint8Array;
    getDecodedBuffer(): Uint8ClampedArray;
    getFrameInfo(): FrameInfo;
    decode(): void;
    delete(): void;
  }
  export interface JpegModule {
    JPEGDecoder: new () => JPEGDecoder;
  }
  export default function make(options: {
    instantiateWasm(
      imports: WebAssembly.Imports,
      done: (instance: WebAssembly.Instance) => void,
    ): WebAssembly.Exports;
  }): Promise<JpegModule>;
}
