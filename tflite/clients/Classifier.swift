// Classifies pictures on iOS with an exported model in the application's bundle, by MediaPipe Tasks:
//   pod 'MediaPipeTasksVision'
// Normalisation and labels travel inside the model.

import MediaPipeTasksVision
import UIKit

final class Classifier {
    private let classifier: ImageClassifier

    init(model: String = "model") throws {
        let options = ImageClassifierOptions()
        options.baseOptions.modelAssetPath = Bundle.main.path(forResource: model, ofType: "tflite")!
        options.runningMode = .image
        options.maxResults = 3
        classifier = try ImageClassifier(options: options)
    }

    /// Labels (`categoryName`) and scores of a picture, the likeliest first.
    func classify(_ picture: UIImage) throws -> [ResultCategory] {
        // The central square, as in training; MediaPipe alone would squeeze the whole picture into one. Of pictures of
        // more than 64 px an eighth of the shorter side stays outside. Drawing also turns the picture upright.
        let shorter = min(picture.size.width, picture.size.height)
        let edge = shorter * picture.scale > 64 ? 0.875 * shorter : shorter
        let format = UIGraphicsImageRendererFormat()
        format.scale = picture.scale
        let square = UIGraphicsImageRenderer(size: CGSize(width: edge, height: edge), format: format).image { _ in
            picture.draw(at: CGPoint(x: (edge - picture.size.width) / 2, y: (edge - picture.size.height) / 2))
        }
        let result = try classifier.classify(image: MPImage(uiImage: square))
        return result.classificationResult.classifications.first?.categories ?? []
    }
}
