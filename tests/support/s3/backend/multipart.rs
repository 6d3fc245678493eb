//! Uploads in parts: begun, sent, put together or given up.

use std::collections::BTreeMap;

use super::*;

/// An upload that is being put together.
struct Assembly {
    upload: Upload,
    parts: Vec<StoredPart>,
    digest: Option<(Algorithm, String)>,
}

impl Backend {
    pub(super) fn create(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let quirks = Quirks::of(&request.extensions);
        refuse(&quirks, &request.headers, false)?;
        self.storage.accepts(&request.input.key)?;
        let ignores = quirks.has(&Fault::NoChecksums);
        let (algorithm, full_object) = if ignores { (None, true) } else { uploads::algorithm(&request.headers)? };
        let full_object = full_object && !quirks.has(&Fault::CompositeOnly);
        let key = request.input.key;
        let label = Label::new(&request.headers, request.input.metadata);
        let mut bucket = self.lock();
        let id = format!("upload-{:06}", bucket.next_number());
        let upload = Upload {
            key: key.clone(),
            label,
            algorithm,
            full_object,
            parts: BTreeMap::new(),
            initiated: now(),
            is_made: false,
        };
        bucket.uploads.insert(id.clone(), upload);
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(request.input.bucket),
            key: Some(key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    pub(super) async fn part(&self, mut request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        refuse(&Quirks::of(&request.extensions), &request.headers, false)?;
        let (key, id, number) = (request.input.key.clone(), request.input.upload_id.clone(), request.input.part_number);
        uploads::check_part_number(number)?;
        let mut wanted = digests::named(&request.headers);
        {
            let mut bucket = self.lock();
            let upload = bucket.upload(&key, &id)?;
            uploads::check_part_algorithm(upload, &wanted)?;
            wanted.extend(upload.algorithm);
        }
        let body = request.input.body.take();
        let taken = self.take(&mut request, body, &wanted).await?;
        let part = StoredPart { body: taken.body, bytes: taken.bytes, etag: taken.etag, digests: taken.digests };
        let mut response = S3Response::new(UploadPartOutput { e_tag: Some(strong(&part.etag)), ..Default::default() });
        digests::as_headers(&sent_or_default(part.digests.clone(), &wanted), &mut response.headers);
        if let Some(replaced) = self.lock().upload(&key, &id)?.parts.insert(number, part) {
            replaced.body.discard();
        }
        Ok(response)
    }

    /// Goes on when the client does not wait for the answer, as S3 does.
    pub(super) async fn complete(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let assembly = self.begin_complete(&request)?;
        let is_half = Quirks::of(&request.extensions).has(&Fault::HalfDone);
        let (backend, input) = (self.clone(), request.input);
        // Gigabytes are copied on a thread that may block.
        let finished = tokio::task::spawn_blocking(move || backend.finish_complete(input, assembly, is_half));
        finished.await.map_err(S3Error::internal_error)?.map(S3Response::new)
    }

    fn finish_complete(
        &self,
        input: CompleteMultipartUploadInput,
        Assembly { upload, parts, digest }: Assembly,
        is_half: bool,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let left_out = upload.parts.iter().filter(|(number, _)| !names(&input, **number));
        left_out.for_each(|(_, part)| part.body.discard());
        let bytes = parts.iter().map(|part| part.bytes).sum();
        let tags: String = parts.iter().map(|part| part.etag.as_str()).collect();
        let etag = format!("{}-{}", bucket::etag(&tags, bytes), parts.len());
        let body = Body::joined(parts.into_iter().map(|part| part.body).collect())?;
        let kind = if upload.full_object { "FULL_OBJECT" } else { "COMPOSITE" };
        let label = upload.label.clone();
        let object = self.object(body, bytes, etag, digest.into_iter().collect(), kind, label);
        let output = CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key.clone()),
            e_tag: Some(strong(&object.etag)),
            version_id: object.version_id.clone(),
            ..Default::default()
        };
        let mut bucket = self.lock();
        bucket.completing.remove(&input.key);
        bucket.insert(&self.storage, &input.key, object)?;
        if is_half {
            let listed = Upload { parts: BTreeMap::new(), is_made: true, ..upload };
            bucket.uploads.insert(input.upload_id, listed);
            return Err(s3_error!(InternalError, "the last step failed, as was asked for"));
        }
        Ok(output)
    }

    /// Checks everything, and takes the upload away: nobody else completes it, and its key is spoken for.
    fn begin_complete(&self, request: &S3Request<CompleteMultipartUploadInput>) -> S3Result<Assembly> {
        let input = &request.input;
        let quirks = Quirks::of(&request.extensions);
        refuse(&quirks, &request.headers, uploads::lists_sums(input))?;
        let mut bucket = self.lock();
        let upload = bucket.upload(&input.key, &input.upload_id)?;
        let parts = uploads::chosen(upload, input, quirks.has(&Fault::BelieveParts))?;
        let mut digest = None;
        if parts.iter().all(|part| !part.digests.is_empty()) {
            let (algorithm, whole) = uploads::whole_digest(upload, &parts);
            let bytes = parts.iter().map(|part| part.bytes).sum();
            uploads::check_whole(
                upload,
                &request.headers,
                bytes,
                (algorithm, &whole),
                quirks.has(&Fault::CompositeOnly),
            )?;
            digest = Some((algorithm, whole));
        }
        let heeds = !quirks.has(&Fault::IgnoreIfNoneMatch);
        bucket.permits(&input.key, input.if_none_match.as_ref().filter(|_| heeds))?;
        bucket.completing.insert(input.key.clone());
        let upload = bucket.uploads.remove(&input.upload_id).expect("it was found under the same lock");
        Ok(Assembly { upload, parts, digest })
    }

    pub(super) fn abort(&self, input: &AbortMultipartUploadInput) -> S3Result<()> {
        let mut bucket = self.lock();
        bucket.upload(&input.key, &input.upload_id)?;
        let upload = bucket.uploads.remove(&input.upload_id).expect("it was found under the same lock");
        upload.parts.values().for_each(|part| part.body.discard());
        if upload.is_made
            && let Some(object) = bucket.objects.remove(&input.key)
        {
            object.body.discard();
        }
        Ok(())
    }
}

fn names(input: &CompleteMultipartUploadInput, number: i32) -> bool {
    let parts = input.multipart_upload.iter().flat_map(|list| list.parts.iter().flatten());
    parts.into_iter().any(|part| part.part_number == Some(number))
}
