// Classifies pictures on Android with an exported model in src/main/assets, by MediaPipe Tasks:
//   implementation("com.google.mediapipe:tasks-vision:0.10.20")   // or newer
//   androidResources { noCompress += "tflite" }
// Normalisation and labels travel inside the model.

import android.content.Context
import android.graphics.Bitmap
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.components.containers.Category
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.core.RunningMode
import com.google.mediapipe.tasks.vision.imageclassifier.ImageClassifier
import kotlin.math.min

class Classifier(context: Context, model: String = "model.tflite") : AutoCloseable {
    private val classifier = ImageClassifier.createFromOptions(
        context,
        ImageClassifier.ImageClassifierOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath(model).build())
            .setRunningMode(RunningMode.IMAGE)
            .setMaxResults(3)
            .build(),
    )

    /** Labels (`categoryName()`) and scores of an upright ARGB_8888 picture, the likeliest first. */
    fun classify(picture: Bitmap): List<Category> {
        // The central square, as in training; MediaPipe alone would squeeze the whole picture into one. Of pictures of
        // more than 64 px an eighth of the shorter side stays outside.
        val shorter = min(picture.width, picture.height)
        val edge = if (shorter > 64) shorter * 7 / 8 else shorter
        val square = Bitmap.createBitmap(picture, (picture.width - edge) / 2, (picture.height - edge) / 2, edge, edge)
        val result = classifier.classify(BitmapImageBuilder(square).build())
        return result.classificationResult().classifications().first().categories()
    }

    override fun close() = classifier.close()
}
