// Executes a LiteRT artifact over the test split on this device and writes predictions.csv (see PREDICTIONS.md).
//
// images: the split's raw pixels, one byte each, 64 x 64 a picture, in the split's order; for example the
// bytes of `test_images` saved with numpy's tofile().
// Needs in build.gradle: implementation("com.google.ai.edge.litert:litert:1.0.1")

import android.os.Build
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest
import org.tensorflow.lite.Interpreter

private const val PIXELS = 64 * 64
private const val RUNS = 2 // the policy asks that the answer does not depend on the run

fun writePredictions(model: File, images: ByteArray, out: File) {
    val bytes = model.readBytes()
    val digest = MessageDigest.getInstance("SHA-256").digest(bytes).joinToString("") { "%02x".format(it) }
    val buffer = ByteBuffer.allocateDirect(bytes.size).order(ByteOrder.nativeOrder()).put(bytes)
    Interpreter(buffer).use { interpreter ->
        out.bufferedWriter().use { csv ->
            csv.write("# artifact: $digest\n")
            csv.write("# device: ${Build.MANUFACTURER} ${Build.MODEL}, Android ${Build.VERSION.RELEASE}, LiteRT 1.0.1, CPU\n")
            csv.write("index,run,logit_normal,logit_pneumonia\n")
            for (run in 1..RUNS) {
                for (index in 0 until images.size / PIXELS) {
                    val logits = predict(interpreter, images, index)
                    csv.write("$index,$run,${logits[0]},${logits[1]}\n") // Kotlin prints a Float so that it reads back
                }
            }
        }
    }
}

private fun predict(interpreter: Interpreter, images: ByteArray, index: Int): FloatArray {
    val input = ByteBuffer.allocateDirect(4 * PIXELS).order(ByteOrder.nativeOrder())
    for (i in 0 until PIXELS) {
        input.putFloat((images[index * PIXELS + i].toInt() and 0xFF).toFloat()) // raw, 0..255: normalisation is inside
    }
    input.rewind()
    val output = arrayOf(FloatArray(2)) // normal, pneumonia
    interpreter.run(input, output)
    return output[0]
}
