"""What skl2onnx exports of scikit-learn, served: predictions are scikit-learn's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVR, LinearSVC
from tests.penstock_server.models.conftest import Served, ServeFile, strings

from penstock_server.protocol import Array

#: float32 keeps seven digits; sums over trees and kernels lose one or two of them.
TOLERANCE = 1e-5
FOUR = [("x", FloatTensorType([None, 4]))]
SPECIES = np.array(["setosa", "versicolor", "virginica"])

Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path, serve_file: ServeFile) -> Serve:
    def start(model: Any, types: Any, **options: Any) -> Served:
        path = tmp_path / "model.onnx"
        opset = {"": 17, "ai.onnx.ml": 3}
        path.write_bytes(to_onnx(model, initial_types=types, target_opset=opset, **options).SerializeToString())
        return serve_file(path)

    return start


def iris() -> tuple[Array, Array]:
    """Return 150 flowers as a client would send them, and their species as numbers."""
    rows, species = load_iris(return_X_y=True)
    return rows.astype(np.float32), species


CLASSIFIERS = {
    "logistic regression": LogisticRegression(max_iter=500),
    "random forest": RandomForestClassifier(n_estimators=8, random_state=0),
    "boosted trees": GradientBoostingClassifier(n_estimators=8, random_state=0),
    "calibrated": CalibratedClassifierCV(LinearSVC(random_state=0), ensemble=False),
    "network": MLPClassifier((8,), max_iter=50, early_stopping=True, random_state=0),
    "neighbours": KNeighborsClassifier(3),
    "vote": VotingClassifier(
        [("a", GaussianNB()), ("b", LogisticRegression(max_iter=500))], voting="soft", flatten_transform=False
    ),
    "scaled": make_pipeline(StandardScaler(), LogisticRegression()),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_answers_labels_and_probabilities_as_scikit_learn_does(serve: Serve, name: str) -> None:
    rows, species = iris()
    classifier = CLASSIFIERS[name].fit(rows, species)
    answered = serve(classifier, FOUR, options={"zipmap": False}).infer({"x": rows})
    assert list(answered.outputs) == ["label", "probabilities"]
    assert answered["label"].tolist() == classifier.predict(rows).tolist()
    np.testing.assert_allclose(answered["probabilities"], classifier.predict_proba(rows), atol=TOLERANCE)


@pytest.mark.parametrize("labels", [np.array([7, -3, 40]), SPECIES], ids=["numbers", "texts"])
def test_maps_of_class_to_probability_are_answered_as_a_table_with_the_classes_beside_it(
    serve: Serve, labels: Array
) -> None:
    rows, species = iris()
    classifier = LogisticRegression(max_iter=500).fit(rows, labels[species])
    served = serve(classifier, FOUR)
    answered = served.infer({"x": rows[::10]})
    assert answered.classes("output_probability") == classifier.classes_.tolist()
    assert answered["output_label"].tolist() == classifier.predict(rows[::10]).tolist()
    expected = classifier.predict_proba(rows[::10])
    np.testing.assert_allclose(answered["output_probability"], expected, atol=TOLERANCE)
    [_, probabilities] = served.metadata()["outputs"]
    assert probabilities["shape"] == [-1, 3]
    assert probabilities["parameters"] == answered.outputs["output_probability"]["parameters"]


def test_a_column_per_class_is_answered_as_an_output_per_class(serve: Serve) -> None:
    rows, species = iris()
    classifier = LogisticRegression(max_iter=500).fit(rows, SPECIES[species])
    answered = serve(classifier, FOUR, options={"zipmap": "columns"}).infer({"x": rows[::10]})
    expected = classifier.predict_proba(rows[::10])
    columns = [name for name in answered.outputs if name != "output_label"]
    assert len(columns) == 3
    for name, probabilities in zip(columns, expected.T, strict=True):
        np.testing.assert_allclose(answered[name], probabilities, atol=TOLERANCE)


def test_a_regression_in_double_precision_keeps_all_its_digits(serve: Serve) -> None:
    rows, target = load_diabetes(return_X_y=True)
    regression = LinearRegression().fit(rows, target)
    answered = serve(regression, [("x", DoubleTensorType([None, 10]))]).infer({"x": rows})
    assert answered["variable"].dtype == np.float64
    np.testing.assert_allclose(answered["variable"][:, 0], regression.predict(rows), rtol=1e-13)


def test_boosted_trees_regress_as_in_scikit_learn(serve: Serve) -> None:
    rows, target = load_diabetes(return_X_y=True)
    rows = rows.astype(np.float32)
    trees = GradientBoostingRegressor(n_estimators=30, random_state=0).fit(rows, target)
    answered = serve(trees, [("x", FloatTensorType([None, 10]))]).infer({"x": rows})
    np.testing.assert_allclose(answered["variable"][:, 0], trees.predict(rows), rtol=TOLERANCE)


def test_support_vectors_regress_as_in_scikit_learn(serve: Serve) -> None:
    rows, target = load_diabetes(return_X_y=True)
    rows = rows.astype(np.float32)
    machine = SVR(C=50).fit(rows, target)
    answered = serve(machine, [("x", FloatTensorType([None, 10]))]).infer({"x": rows})
    np.testing.assert_allclose(answered["variable"][:, 0], machine.predict(rows), rtol=1e-4)


def test_clusters_come_with_the_distances_to_all_of_them(serve: Serve) -> None:
    rows, _ = iris()
    clusters = KMeans(3, n_init=1, random_state=0).fit(rows)
    answered = serve(clusters, FOUR).infer({"x": rows})
    assert answered["label"].tolist() == clusters.predict(rows).tolist()
    np.testing.assert_allclose(answered["scores"], clusters.transform(rows), atol=1e-4)


def test_outliers_come_with_their_scores(serve: Serve) -> None:
    rows, _ = iris()
    forest = IsolationForest(n_estimators=20, random_state=0).fit(rows)
    answered = serve(forest, FOUR).infer({"x": rows})
    assert answered["label"][:, 0].tolist() == forest.predict(rows).tolist()
    np.testing.assert_allclose(answered["scores"][:, 0], forest.decision_function(rows), atol=TOLERANCE)


def test_a_transformation_without_a_model_is_served_too(serve: Serve) -> None:
    rows, _ = iris()
    components = PCA(2).fit(rows)
    answered = serve(components, FOUR).infer({"x": rows})
    np.testing.assert_allclose(answered["variable"], components.transform(rows), atol=TOLERANCE)


def test_a_table_of_named_columns_is_one_input_per_column_with_texts_and_numbers(serve: Serve) -> None:
    ages, cities = np.array([[25.0], [np.nan], [61.0], [40.0]] * 8), ["Ulm", "Köln", "Ulm", "東京"] * 8
    columns = ColumnTransformer(
        [
            ("age", make_pipeline(SimpleImputer(), StandardScaler()), [0]),
            ("city", OneHotEncoder(handle_unknown="ignore"), [1]),
        ]
    )
    table = np.hstack([ages.astype(object), strings(cities)[:, None]])
    bought = np.array([0, 1, 0, 1] * 8)
    pipeline = make_pipeline(columns, LogisticRegression()).fit(table, bought)
    types = [("age_in_years", FloatTensorType([None, 1])), ("Stadt", StringTensorType([None, 1]))]
    served = serve(pipeline, types, options={"zipmap": False})
    assert [one["datatype"] for one in served.metadata()["inputs"]] == ["FP32", "BYTES"]
    asked = {"age_in_years": np.array([[30], [61]], np.float32), "Stadt": strings([["東京"], ["Nirgendwo"]])}
    expected = pipeline.predict_proba(np.array([[30.0, "東京"], [61.0, "Nirgendwo"]], object))
    np.testing.assert_allclose(served.infer(asked)["probabilities"], expected, atol=TOLERANCE)


def test_texts_are_classified_as_in_scikit_learn(serve: Serve) -> None:
    texts = ["cheap pills now", "buy cheap pills", "meeting at noon", "lunch meeting today"] * 4
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, ["spam", "spam", "ham", "ham"] * 4)
    served = serve(pipeline, [("text", StringTensorType([None, 1]))])
    asked = ["cheap lunch", "pills meeting", "nothing known"]
    answered = served.infer({"text": strings([[one] for one in asked])})
    assert answered["output_label"].tolist() == pipeline.predict(asked).tolist()
    assert answered.classes("output_probability") == ["ham", "spam"]
    np.testing.assert_allclose(answered["output_probability"], pipeline.predict_proba(asked), atol=TOLERANCE)
