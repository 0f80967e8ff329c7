//! The macro that makes a Python extension module of a plugin.

/// Makes the extension module of a plugin package.
///
/// ```ignore
/// dativo_plugin_ffi::export_python! {
///     module _native;
///     reader Reader = CsvReaderPlugin;        // or: file_format Sink = ParquetFormat;
/// }
/// ```
#[macro_export]
macro_rules! export_python {
    (module $module:ident; reader $class:ident = $plugin:ty;) => {
        use $crate::pyo3::prelude::*;

        #[pyclass(frozen, crate = "dativo_plugin_ffi::pyo3")]
        struct $class($crate::ReaderHandle);

        #[pymethods(crate = "dativo_plugin_ffi::pyo3")]
        impl $class {
            #[new]
            #[pyo3(signature = (config_json, files = None))]
            fn new(py: Python<'_>, config_json: &str, files: Option<Bound<'_, PyAny>>) -> PyResult<Self> {
                $crate::ReaderHandle::new::<$plugin>(py, config_json, files).map(Self)
            }

            #[staticmethod]
            fn describe() -> String {
                $crate::describe_reader::<$plugin>()
            }

            fn check(&self, py: Python<'_>) -> PyResult<String> {
                self.0.check(py)
            }

            fn discover(&self, py: Python<'_>) -> PyResult<String> {
                self.0.discover(py)
            }

            fn plan(
                &self,
                py: Python<'_>,
                request_json: &str,
                schema: Option<Bound<'_, PyAny>>,
            ) -> PyResult<(String, Option<$crate::NativeSchema>)> {
                self.0.plan(py, request_json, schema.as_ref())
            }

            fn read(&self, py: Python<'_>, split_json: &str) -> PyResult<$crate::NativeStream> {
                self.0.read(py, split_json)
            }

            fn cancel(&self) {
                self.0.cancel();
            }
        }

        #[pymodule(crate = "dativo_plugin_ffi::pyo3")]
        fn $module(module: &Bound<'_, PyModule>) -> PyResult<()> {
            module.add_class::<$class>()
        }
    };
    (module $module:ident; file_format $class:ident = $format:ty;) => {
        use $crate::pyo3::prelude::*;

        #[pyclass(frozen, crate = "dativo_plugin_ffi::pyo3")]
        struct $class($crate::SinkHandle);

        #[pymethods(crate = "dativo_plugin_ffi::pyo3")]
        impl $class {
            #[new]
            #[pyo3(signature = (path, schema, options_json, context_json = "{}"))]
            fn new(
                py: Python<'_>,
                path: &str,
                schema: &Bound<'_, PyAny>,
                options_json: &str,
                context_json: &str,
            ) -> PyResult<Self> {
                $crate::SinkHandle::new::<$format>(py, path, schema, options_json, context_json).map(Self)
            }

            #[staticmethod]
            fn describe() -> String {
                $crate::describe_file_format::<$format>()
            }

            fn write(&self, py: Python<'_>, batch: &Bound<'_, PyAny>) -> PyResult<()> {
                self.0.write(py, batch)
            }

            fn write_stream(&self, py: Python<'_>, stream: &Bound<'_, PyAny>) -> PyResult<u64> {
                self.0.write_stream(py, stream)
            }

            fn take_group(
                &self,
                py: Python<'_>,
                source: &str,
                group: usize,
                places: Vec<usize>,
                rows: &Bound<'_, PyAny>,
            ) -> PyResult<bool> {
                self.0.take_group(py, source, group, &places, rows)
            }

            #[getter]
            fn bytes_written(&self) -> u64 {
                self.0.bytes_written()
            }

            fn finish(&self, py: Python<'_>) -> PyResult<String> {
                self.0.finish(py)
            }

            fn abort(&self, py: Python<'_>) -> PyResult<()> {
                self.0.abort(py)
            }

            fn cancel(&self) {
                self.0.cancel();
            }
        }

        #[pymodule(crate = "dativo_plugin_ffi::pyo3")]
        fn $module(module: &Bound<'_, PyModule>) -> PyResult<()> {
            module.add_class::<$class>()
        }
    };
}
