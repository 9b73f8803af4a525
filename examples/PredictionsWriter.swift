// Executes a Core ML artifact over the test split on this device and writes predictions.csv (see PREDICTIONS.md).
//
// images: the split's raw pixels, one byte each, 64 x 64 a picture, in the split's order; for example the
// bytes of `test_images` saved with numpy's tofile().
// artifact: the `digest` in the package's report.json; a compiled model no longer has the package's bytes.
// device: one line, for example "iPhone 15, iOS 18.1, Core ML, CPU and Neural Engine".

import CoreML
import CoreVideo
import Foundation

let side = 64
let runs = 2  // the policy asks that the answer does not depend on the run

func writePredictions(model: MLModel, images: Data, artifact: String, device: String, to out: URL) throws {
    var csv = "# artifact: \(artifact)\n# device: \(device)\nindex,run,probability\n"
    for run in 1...runs {
        for index in 0..<(images.count / (side * side)) {
            let pixels = images.subdata(in: index * side * side..<(index + 1) * side * side)
            let input = try MLDictionaryFeatureProvider(dictionary: [
                "image": MLFeatureValue(pixelBuffer: try grayImage(pixels))
            ])
            let answer = try model.prediction(from: input).featureValue(for: "classLabel_probs")!.dictionaryValue
            csv += "\(index),\(run),\(answer["pneumonia"]!.doubleValue)\n"
        }
    }
    try csv.write(to: out, atomically: true, encoding: .utf8)
}

// Raw pixels, 0..255: normalisation is inside the artifact.
func grayImage(_ pixels: Data) throws -> CVPixelBuffer {
    var created: CVPixelBuffer?
    CVPixelBufferCreate(nil, side, side, kCVPixelFormatType_OneComponent8, nil, &created)
    guard let buffer = created else { throw CocoaError(.featureUnsupported) }
    CVPixelBufferLockBaseAddress(buffer, [])
    defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
    let base = CVPixelBufferGetBaseAddress(buffer)!
    let stride = CVPixelBufferGetBytesPerRow(buffer)
    for row in 0..<side {
        pixels.copyBytes(to: (base + row * stride).assumingMemoryBound(to: UInt8.self), from: row * side..<(row + 1) * side)
    }
    return buffer
}
